"""A schedule as a table: who did what, what each saw, and what became untrue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from rich.table import Table

from launch.explore.blueprint import Blueprint
from launch.explore.describe import answer, operation
from launch.explore.execution import Execution, Record
from launch.explore.footprint import Footprints
from launch.explore.schedule import LETTERS, Kept, Replay, Turns

LENGTHS: Final = (1, 2, 3)
"""Steps of one extent or page: what a long operation repeats."""


@dataclass(slots=True)
class Row:
    """Consecutive moves of one operation."""

    first: int
    """Commit numbers; 0 for an event or a timer."""
    last: int
    number: str
    """The same for all rows of one operation."""
    who: str
    operation: str
    steps: list[str]
    saw: str = ""
    untrue: str = ""

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {key: value for key, value in asdict(self).items() if key != "number"}

    @property
    def commits(self) -> str:
        """One number or two."""
        if not self.first:
            return ""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    @property
    def what(self) -> str:
        """The operation, with its steps where they say more than it does."""
        plain = len(self.steps) == 1 and self.saw and self.steps[0] not in ("take", "assign", "give back")
        return self.operation if plain else f"{self.operation} ({', '.join(_counted(self.steps))})"


def interleaving(blueprint: Blueprint, turns: Turns, kept: Kept | None = None) -> tuple[Row, ...]:
    """Run a schedule once more and write down what happens, up to the first violation."""
    execution = Execution(blueprint, Footprints(), kept)
    execution.run(Replay(turns), stop_at_violation=True)
    return tuple(_rows(execution))


def _rows(execution: Execution) -> Iterator[Row]:
    row: Row | None = None
    key: object = None
    seen = 0
    for record in execution.records:
        this = (record.move.identity, id(record.request))
        if row is None or this != key:
            if row is not None:
                yield row
            row, key = _new_row(execution, record), this
        row.last = record.commit
        row.steps.append(record.step)
        if record.reply is not None and record.request is not None:
            row.saw = answer(record.request, record.reply)
        if record.violations > seen:
            row.untrue = _untrue(execution, seen, record.violations)
            seen = record.violations
    if row is not None:
        if len(execution.scene.violations) > seen:
            row.untrue = _untrue(execution, seen, len(execution.scene.violations))
        yield row


def _untrue(execution: Execution, first: int, last: int) -> str:
    return "; ".join(f"{one.kind}: {one.detail}" for one in execution.scene.violations[first:last])


def _new_row(execution: Execution, record: Record) -> Row:
    who = execution.names[record.move.party]
    request, call = record.request, record.move.call
    text = record.step if request is None or call is None else operation(request, call.world.domid)
    number = f"{record.move.identity}/{id(request)}"
    return Row(record.commit, record.commit, number, f"{LETTERS[record.move.party]} {who}", text, [])


def _counted(steps: list[str]) -> Iterator[str]:
    """take, assign, take, assign, take becomes 2 x (take, assign), take."""
    place = 0
    while place < len(steps):
        length, times = max(
            ((length, _repeats(steps, place, length)) for length in LENGTHS),
            key=lambda one: one[0] * one[1] if one[1] > 1 else 0,
        )
        part = steps[place : place + length]
        if times > 1:
            yield f"{times} x ({', '.join(part)})" if length > 1 else f"{times} x {part[0]}"
        else:
            length, times = 1, 1
            yield steps[place]
        place += length * times


def _repeats(steps: list[str], place: int, length: int) -> int:
    """How often the `length` steps at `place` follow each other, once included."""
    times = 1
    while steps[place + times * length : place + (times + 1) * length] == steps[place : place + length]:
        times += 1
    return times


def rich_table(rows: tuple[Row, ...]) -> Table:
    """For the terminal."""
    table = Table()
    for heading in ("commit", "who", "operation (steps)", "saw", "became untrue"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.commits, row.who, row.what, row.saw, row.untrue)
    return table
