"""Rows of an interleaving that say the same again and again, as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from launch.explore.interleaving import Row


def folded(rows: Sequence[Row]) -> Iterator[Row]:
    """A builder asks for 8 MiB a hundred times: consecutive rows that differ in their commits alone."""
    for _, group in groupby(rows, lambda row: (row.who, row.operation, row.steps, row.saw, row.untrue)):
        same = list(group)
        first = same[0]
        times = f"{len(same)} times: " if len(same) > 1 else ""
        yield replace(first, operation=times + first.operation, last=same[-1].last)
