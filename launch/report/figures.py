"""The table of schemes: every figure over the repeats, with intervals where there are enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from launch.compare.cell import Cell
from launch.compare.report import SHOWN, Column, Comparison
from launch.compare.statistics import Estimate
from launch.judge.figures import figures, flat
from launch.launches import fold
from launch.report.folder import HostFolder, RunFolder
from launch.summary import summarise

ROWS: Final = (("launches", "launches"), ("refused", "refused at once"), *SHOWN)
"""Figure and heading."""
ELSEWHERE: Final = ("memory.", "leftovers")
"""Figures that the hosts' folders do not tell."""


class Cells(Struct, frozen=True):
    """One cell of the table."""

    text: str
    interval: str = ""
    clear: bool = False  # the difference to the first column is


def comparison(runs: Sequence[RunFolder]) -> Comparison:
    """The schemes of one run, or of several: then columns are called RUN: SCHEME."""
    columns = [column for run in runs for column in _columns(run, f"{run.name}: " if len(runs) > 1 else "")]
    return Comparison(" against ".join(run.name for run in runs), columns)


def _columns(run: RunFolder, prefix: str) -> list[Column]:
    by_scheme: dict[str, dict[int, list[HostFolder]]] = {}
    for host in run.hosts:
        by_scheme.setdefault(host.scheme, {}).setdefault(host.repeat, []).append(host)
    return [
        Column(
            f"{prefix}{scheme}",
            scheme,
            {repeat: _cell(scheme, repeat, hosts) for repeat, hosts in repeats.items()},
        )
        for scheme, repeats in by_scheme.items()
    ]


def _cell(scheme: str, repeat: int, hosts: Sequence[HostFolder]) -> Cell:
    launches = [
        launch
        for host in hosts
        for launch in fold({one.order: one.time for one in host.evidence.orders}, host.evidence.outcomes)
    ]
    reports = [report for host in hosts for report in host.evidence.reports]
    found = flat(summarise(launches, reports, ()))
    judged = [host.judgement for host in hosts if host.judgement is not None]
    if judged:
        found |= flat(figures(judged))
    return Cell(scheme, repeat, (), {k: v for k, v in found.items() if not k.startswith(ELSEWHERE)})


def rows(table: Comparison) -> list[tuple[str, list[Cells]]]:
    """Heading and one cell a column; figures that nobody has are left out."""
    known = set(table.figures())
    return [
        (title, [_shown(table, column, figure) for column in table.columns])
        for figure, title in ROWS
        if figure in known
    ]


def _shown(table: Comparison, column: Column, figure: str) -> Cells:
    found = column.estimate(figure)
    if found is None:
        return Cells("\N{EN DASH}")
    apart = None if column is table.columns[0] else table.difference(column, figure)
    return Cells(number(found.mean), _interval(found), apart is not None and apart.clear)


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None or found.low == found.high:
        return ""
    return f"[{number(found.low)}, {number(found.high)}]"


def number(value: float) -> str:
    """For readers."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.3g}"
