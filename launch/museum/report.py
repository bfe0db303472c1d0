"""The museum in print: one table of all exhibits, or one exhibit with its interleaving."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from launch.museum.exhibit import Exhibit
from launch.museum.tour import Shown

WIDTH = 110


@dataclass(frozen=True, slots=True)
class Report:
    """A visit."""

    shown: Sequence[Shown]

    @property
    def exit_code(self) -> int:
        """0 when every exhibit is red with its switch and green without, 1 otherwise."""
        return 0 if all(one.red and one.green for one in self.shown) else 1

    def table(self) -> Table:
        """One row an exhibit; `listing` and `above` have the rest."""
        table = _table("what broke", "calls", "red", "green")
        for one in self.shown:
            figures = str(one.operations), _mark(one.red), _green(one)
            table.add_row(one.exhibit.name, one.exhibit.broke, *figures)
        return table

    def last_lines(self) -> Iterator[str]:
        """The sum of it, and which sound sides have more schedules than were tried."""
        for one in self.shown:
            if one.green and not one.exhausted:
                yield f"{one.exhibit.name}: its sound side has more schedules than the {one.tried_off} tried"
        good = sum(one.red and one.green for one in self.shown)
        yield f"{good} of {len(self.shown)} exhibits are red with their switch and green without"

    def as_json(self) -> dict[str, object]:
        """The document of --json."""
        return {"exhibits": [_document(one) for one in self.shown]}


def listing(exhibits: Sequence[Exhibit]) -> Table:
    """What there is to see."""
    table = _table("when; source", "what broke")
    for one in exhibits:
        table.add_row(one.name, f"{one.when}; {one.source}", one.broke)
    return table


def listing_as_json(exhibits: Sequence[Exhibit]) -> dict[str, object]:
    """The document of --list --json."""
    return {"exhibits": [_facts(one) for one in exhibits]}


def below(shown: Shown) -> Iterator[str]:
    """Lines below the interleaving of one exhibit."""
    exhibit, violation = shown.exhibit, shown.violation
    if violation is None:
        yield f"NOT RED: schedule {exhibit.schedule} violates nothing with the switch on"
    else:
        operations = f"{shown.operations} operation" + ("s" if shown.operations != 1 else "")
        yield f"red: {violation.kind}, {operations}, schedule {exhibit.schedule}"
    yield (
        f"green: {_green(shown)}, the same schedule included"
        if shown.green
        else f"NOT GREEN: {_green(shown)}"
    )


def above(exhibit: Exhibit) -> Iterator[str]:
    """Lines above it: what it is."""
    yield f"{exhibit.name} ({exhibit.when}; {exhibit.source})"
    yield from textwrap.wrap(exhibit.history, WIDTH)
    yield f"switch: {exhibit.switch}"
    yield f"world: {exhibit.on.world.name}, {exhibit.on.world.about}"


def _table(*headings: str) -> Table:
    table = Table()
    table.add_column("exhibit", no_wrap=True)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _mark(good: bool) -> str:
    return "yes" if good else "NO"


def _green(one: Shown) -> str:
    if one.found_off is not None:
        return f"NO: {one.found_off.kind}"
    if not one.replayed_clean:
        return "NO: the same schedule violates something"
    return f"all {one.tried_off:,}" if one.exhausted else f"{one.tried_off:,} tried"


def _facts(one: Exhibit) -> dict[str, object]:
    return {
        "name": one.name,
        "when": one.when,
        "source": one.source,
        "broke": one.broke,
        "switch": one.switch,
        "history": one.history,
        "world": one.on.world.name,
        "schedule": one.schedule,
    }


def _document(one: Shown) -> dict[str, object]:
    violation = one.violation
    return _facts(one.exhibit) | {
        "red": one.red,
        "green": one.green,
        "violation": None if violation is None else {"kind": violation.kind, "detail": violation.detail},
        "operations": one.operations,
        "moves": one.moves,
        "interleaving": [row.as_json() for row in one.rows],
        "schedules_off": one.tried_off,
        "exhausted_off": one.exhausted,
        "violation_off": None if one.found_off is None else one.found_off.kind,
    }
