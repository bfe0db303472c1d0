"""The table of schemes: every figure over the repeats, with intervals where there are enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Struct
from rich.table import Table

from launch.compare.cell import OVER_HOSTS, Cell, harm_figures
from launch.compare.report import SHOWN, Column, Comparison
from launch.compare.statistics import Difference, Estimate, difference
from launch.judge.figures import figures, flat
from launch.report.folder import HostFolder, RunFolder
from launch.summary import summarise

ANSWERS: Final = (
    ("launches", "launches"),
    ("admitted", "admitted"),
    ("refused", "refused at once"),
    ("failed_late", "failed late"),
)
ROWS: Final = (*ANSWERS, *(row for row in SHOWN if row not in ANSWERS))
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
            {
                repeat: _cell(scheme, repeat, hosts, _over_hosts(run, scheme, len(repeats)))
                for repeat, hosts in repeats.items()
            },
        )
        for scheme, repeats in by_scheme.items()
    ]


def _over_hosts(run: RunFolder, scheme: str, repeats: int) -> dict[str, float | None]:
    """Launches over several hosts; the summary has them over all repeats together, so of one repeat only."""
    if run.summary is None or repeats > 1 or scheme not in run.summary.over_hosts:
        return {}
    return {f"{OVER_HOSTS}{name}": value for name, value in flat(run.summary.over_hosts[scheme]).items()}


def _cell(scheme: str, repeat: int, hosts: Sequence[HostFolder], over_hosts: dict[str, float | None]) -> Cell:
    launches = [launch for host in hosts for launch in host.launches()]
    reports = [report for host in hosts for report in host.evidence.reports]
    found = flat(summarise(launches, reports, ()))
    judged = [host.judgement for host in hosts if host.judgement is not None]
    if judged:
        found |= flat(figures(judged))
    found |= harm_figures(found, launches)
    kept = {name: value for name, value in found.items() if not name.startswith(ELSEWHERE)}
    return Cell(scheme, repeat, (), kept | over_hosts)


def rows(table: Comparison) -> list[tuple[str, list[Cells]]]:
    """Heading and one cell a column; figures that nobody has are left out."""
    known = set(table.figures())
    several = any(name.startswith(OVER_HOSTS) for name in known)
    return [
        (
            "orders" if several and figure == "launches" else title,
            [_shown(table, column, figure) for column in table.columns],
        )
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
