"""Rows of what differs between two releases: one script, two presets, two answers, the switch behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hypervisor.core.releases import RELEASES, Release, release

Script = Callable[[Release], int]


@dataclass(frozen=True)
class Difference:
    """The script answers `before` on every release up to `older` and `after` from `newer` on."""

    what: str
    switch: str
    """The field of Release that says so."""
    script: Script
    older: str
    before: int
    newer: str
    after: int


def difference(
    what: str,
    switch: str,
    rules: tuple[str, ...],
    script: Script,
    before: tuple[str, int],
    after: tuple[str, int],
) -> Any:
    """A row as a parameter of a test, marked with its rules."""
    row = Difference(what, switch, script, *before, *after)
    return pytest.param(row, marks=pytest.mark.rule(*rules), id=what.replace(" ", "-"))


def assert_answers(row: Difference) -> None:
    """Each of the two presets answers as the row says, and not alike."""
    assert row.before != row.after
    assert row.script(release(row.older)) == row.before
    assert row.script(release(row.newer)) == row.after


def assert_others_side_with_one(row: Difference) -> None:
    """Every preset before the older one answers as it, every one after the newer as that."""
    names = tuple(RELEASES)
    assert names.index(row.newer) == names.index(row.older) + 1
    for index, name in enumerate(names):
        expected = row.before if index <= names.index(row.older) else row.after
        assert row.script(release(name)) == expected, name


def assert_switch_alone_decides(row: Difference) -> None:
    """The older preset with nothing but the one switch turned answers as the newer one."""
    value = getattr(release(row.newer), row.switch)
    assert value != getattr(release(row.older), row.switch)
    turned = replace(release(row.older), **{row.switch: value, "name": row.newer})
    assert row.script(turned) == row.after
