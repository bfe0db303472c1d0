"""The table of schemes: every figure over the repeats, with intervals where there are enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Struct
from rich.table import Table

from launch.compare.cell import Cell
from launch.compare.report import SHOWN, Column, Comparison
from launch.compare.statistics import Difference, Estimate, difference
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


@dataclass(frozen=True, slots=True)
class TwoRuns(Comparison):
    """Each scheme of the second run beside the same scheme of the first, repeat by repeat."""

    paired: bool = True
    """The seeds are the same; nothing can be said of differences otherwise."""

    def baseline(self, column: Column) -> Column | None:
        """What it is compared with; None for the first run's, and for a scheme that only one run has."""
        same = [one for one in self.columns if one.scheme == column.scheme]
        return same[0] if self.paired and same[0] is not column else None

    def difference(self, column: Column, figure: str) -> Difference | None:
        """To the same scheme in the first run."""
        baseline = self.baseline(column)
        return None if baseline is None else difference(column.values(figure), baseline.values(figure))

    def table(self) -> Table:
        """As for every comparison."""
        table = Comparison.table(self)
        table.caption = note(self)
        return table


def comparison(runs: Sequence[RunFolder]) -> Comparison:
    """The schemes of one run, or of two: then columns are called RUN: SCHEME."""
    if len(runs) == 1:
        return Comparison(runs[0].name, _columns(runs[0], ""))
    names = names_of(runs)
    columns = [column for run, name in zip(runs, names, strict=True) for column in _columns(run, f"{name}: ")]
    paired = len({run.scenario.get("seed") for run in runs}) == 1
    return TwoRuns(" against ".join(names), columns, paired=paired)


def names_of(runs: Sequence[RunFolder]) -> list[str]:
    """The folders' names, longer ones where these are the same."""
    if len({run.name for run in runs}) == len(runs):
        return [run.name for run in runs]
    return ["/".join(run.path.resolve().parts[-2:]) for run in runs]


def note(table: Comparison) -> str:
    """What the intervals and marks of a table mean."""
    if isinstance(table, TwoRuns) and not table.paired:
        return "The seeds differ, so the repeats are no pairs, and no difference is marked."
    other = "the same scheme in the first run" if isinstance(table, TwoRuns) else table.columns[0].name
    return f"* marks a figure whose paired difference to {other} leaves 0 out (95 % interval)."


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
    apart = None if column is table.columns[0] else table.difference(column, figure)  # always 0 to itself
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
