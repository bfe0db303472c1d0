"""A comparison for readers and for machines."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from launch.compare.cell import FAILED_PAGES, HARM, Cell
from launch.compare.choice import Choice
from launch.compare.statistics import CONFIDENCE, FEW, Difference, Estimate, difference, estimate
from launch.errors import UsageError

SHOWN: Final = (
    (HARM, "harm: the next three (pages)"),
    ("falsely_refused_pages", "false refusals (pages)"),
    (FAILED_PAGES, "failed builds (pages)"),
    ("pages_swapped", "pages swapped"),
    ("admitted", "admitted"),
    ("failed_late", "failed late"),
    ("false_refusals", "false refusals"),
    ("promised_refusals", "of these, promised to builds"),
    ("fitted_at_first", "refused, fitted at first only"),
    ("false_grants", "false grants"),
    ("overtaken", "overtaken"),
    ("wasted_page_seconds", "wasted page-seconds"),
    ("refused_while_free", "pages refused to guests while free"),
    ("refused_without", "pages refused to guests with none free"),
    ("oom_kills", "OOM kills"),
    ("gini_refused", "Gini of refused pages"),
    ("moved_in_windows", "pages moved in decision windows"),
    ("hypercalls_per_launch", "hypercalls per launch"),
    ("time_to_answer_p50_s", "time to the final answer, p50 (s)"),
    ("over_hosts.attempts_per_launch", "attempts per launch"),
    ("over_hosts.running", "launches running in the end"),
    ("over_hosts.given_up", "launches given up"),
    ("over_hosts.time_to_running_p50_s", "time to running, p50 (s)"),
    ("over_hosts.time_to_running_p99_s", "time to running, p99 (s)"),
)


SETTINGS_SHOWN: Final = MappingProxyType(
    {
        "admitted": "admitted",
        "falsely_refused_pages": "falsely refused",
        FAILED_PAGES: "failed builds",
        "pages_swapped": "swapped",
        "oom_kills": "OOM kills",
    }
)
"""Of every setting; pages but for the first and the last."""
UNBOUNDED: Final = 10_000
"""Columns of no terminal."""
TOO_FEW: Final = "--best chooses on one half of the repeats and shows the other: --repeats 2 at least"


@dataclass(frozen=True, slots=True)
class Column:
    """One variant."""

    name: str
    scheme: str
    cells: Mapping[int, Cell]
    """By repeat."""

    def values(self, figure: str) -> dict[int, float | None]:
        """One figure, by repeat."""
        return {repeat: cell.figures.get(figure, 0.0) for repeat, cell in self.cells.items()}

    def of(self, repeats: Collection[int]) -> Column:
        """These repeats alone."""
        cells = {repeat: cell for repeat, cell in self.cells.items() if repeat in repeats}
        return Column(self.name, self.scheme, cells)

    def mean(self, figure: str) -> float | None:
        """None when no repeat has it."""
        found = self.estimate(figure)
        return None if found is None else found.mean

    def estimate(self, figure: str) -> Estimate | None:
        """None when no repeat has it."""
        known = [value for value in self.values(figure).values() if value is not None]
        return estimate(known) if known else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All columns; the first one is what the others are compared with."""

    heading: str
    columns: Sequence[Column]
    distrusted: Sequence[str] = ()
    """Real runs whose timings cannot be trusted, a line each: no figure of theirs is in any column."""
    choice: Choice | None = None
    """By what each scheme's setting was chosen, on other repeats than those shown."""

    @property
    def valid(self) -> bool:
        """No cell broke an invariant."""
        return not any(cell.violations for column in self.columns for cell in column.cells.values())

    def best(self, choice: Choice) -> Comparison:
        """Each scheme at its best setting by that figure: chosen on odd repeats, shown on even ones.

        The setting that did best on some seeds did so partly by luck; on others it shows what it is worth.
        UsageError with fewer than two repeats.
        """
        repeats = self._repeats()
        chosen_on, shown_on = [one for one in repeats if one % 2], [one for one in repeats if not one % 2]
        if not chosen_on or not shown_on:
            raise UsageError(TOO_FEW)
        chosen: dict[str, Column] = {}
        for column in self.columns:
            now, was = column.of(chosen_on), chosen.get(column.scheme)
            if was is None or choice.prefers(now.mean(choice.figure), was.of(chosen_on).mean(choice.figure)):
                chosen[column.scheme] = column
        heading = f"{self.heading}, each at its {choice}: chosen on odd repeats, shown on even ones"
        return Comparison(heading, [one.of(shown_on) for one in chosen.values()], choice=choice)

    def settings(self, choice: Choice) -> Table:
        """A row for each setting of each scheme, means over all repeats; > marks the one that was chosen."""
        chosen = {column.name for column in self.best(choice).columns}
        caption = f"> the best of its scheme: {choice} on odd repeats (first column), even ones beside it"
        table = Table(title=f"{self.heading}: every setting", caption=caption, title_justify="left")
        table.caption_justify = "left"
        table.add_column("", no_wrap=True)
        odd, even = ([number for number in self._repeats() if number % 2 == rest] for rest in (1, 0))
        for title in ("odd", "even", *SETTINGS_SHOWN.values()):
            table.add_column(title, justify="right")
        for column in self.columns:
            values = [column.of(odd).mean(choice.figure), column.of(even).mean(choice.figure)]
            values += [column.mean(figure) for figure in SETTINGS_SHOWN]
            mark = "> " if column.name in chosen else "  "
            cells = ("-" if value is None else _number(value) for value in values)
            table.add_row(f"{mark}{column.name}", *cells)
        return table

    def _repeats(self) -> list[int]:
        return sorted({repeat for column in self.columns for repeat in column.cells})

    def difference(self, column: Column, figure: str) -> Difference | None:
        """To the first column."""
        return difference(column.values(figure), self.columns[0].values(figure))

    def figures(self) -> list[str]:
        """Every figure that some cell has."""
        cells = [cell for column in self.columns for cell in column.cells.values()]
        return sorted({name for cell in cells for name in cell.figures})

    def to_json(self) -> bytes:
        """comparison.json, indented, with a line end."""
        return msgspec.json.format(msgspec.json.encode(self.as_json())) + b"\n"

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        names = self.figures()
        return {
            "heading": self.heading,
            "valid": self.valid,
            "confidence": CONFIDENCE,
            "baseline": self.columns[0].name,
            "chosen_by": None if self.choice is None else str(self.choice),
            "distrusted": list(self.distrusted),
            "variants": [
                {
                    "name": column.name,
                    "scheme": column.scheme,
                    "repeats": sorted(column.cells),
                    "figures": {name: self._figure(column, name) for name in names},
                }
                for column in self.columns
            ],
            "violations": list(self.violations()),
        }

    def _figure(self, column: Column, figure: str) -> dict[str, Any]:
        to_baseline = None if column is self.columns[0] else self.difference(column, figure)
        return {
            "estimate": msgspec.to_builtins(column.estimate(figure)),
            "difference": msgspec.to_builtins(to_baseline),
            "values": [column.values(figure)[repeat] for repeat in sorted(column.cells)],
        }

    def violations(self) -> Iterator[str]:
        """Of every cell, a line each."""
        for column in self.columns:
            for repeat, cell in sorted(column.cells.items()):
                yield from (f"{column.name}, repeat {repeat}: {text}" for text in cell.violations)

    def table(self) -> Table:
        """All columns in one; * marks a clear difference to the first."""
        return self._captioned(self._table(self.columns))

    def tables(self, console: Console) -> Iterator[Table]:
        """As many as the console's width makes necessary: each has the first column and others that fit."""
        first, *others = self.columns
        part = [first]
        for column in others:
            wider = [*part, column]
            if len(part) > 1 and _least_width(self._table(wider), console) > console.width:
                yield self._table(part)
                wider = [first, column]
            part = wider
        yield self._captioned(self._table(part))

    def _captioned(self, table: Table) -> Table:
        table.caption = (
            f"mean [{CONFIDENCE:.0%} interval: bootstrap BCa, below {FEW} values Student's t], "
            "same seeds in every column\n"
            f"* differs from {self.columns[0].name}: the interval of the paired difference leaves 0 out"
        )
        return table

    def _table(self, columns: Sequence[Column]) -> Table:
        table = Table(title=self.heading, title_justify="left", caption_justify="left")
        table.add_column("")
        for column in columns:
            table.add_column(column.name, justify="right")
        known = self.figures()
        for figure, title in SHOWN:
            if figure not in known:
                continue  # of several hosts, of the judge: nobody has it, which is not 0
            table.add_row(title, *(self._cell(column, figure) for column in columns))
        return table

    def _cell(self, column: Column, figure: str) -> str:
        found = column.estimate(figure)
        if found is None:
            return "-"
        apart = self.difference(column, figure)
        mark = "*" if apart is not None and apart.clear else ""
        text = f"{_number(found.mean)}{mark}"
        if found.low is None or found.high is None or found.low == found.high:
            return text
        return f"{text}\n[{_number(found.low)}, {_number(found.high)}]"


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _least_width(table: Table, console: Console) -> int:
    """Columns of the terminal below which words and numbers would be cut."""
    return Measurement.get(console, console.options.update(width=UNBOUNDED), table).minimum
