"""Shows an exhibit: its schedule with the switch on, then the same and many others with it off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from launch.explore.blueprint import Blueprint
from launch.explore.exhaustive import ExhaustiveScheduler
from launch.explore.interleaving import Row, interleaving
from launch.explore.scene import Violation
from launch.explore.schedule import read
from launch.explore.schedulers import PctScheduler, ReplayScheduler
from launch.explore.search import Budget, Exploration, explore
from launch.museum.exhibit import Exhibit

PCT_DEPTH: Final = 3
PCT_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of it."""

    exhibit: Exhibit
    violation: Violation | None
    """What the schedule violates with the switch on."""
    rows: tuple[Row, ...]
    """The schedule with the switch on, up to the violation."""
    moves: int
    """How many moves that is."""
    replayed_clean: bool
    """The same schedule violates nothing with the switch off."""
    found_off: Violation | None
    """What else was violated with the switch off: nothing, it is hoped."""
    tried_off: int
    """Schedules tried with the switch off."""
    exhausted: bool
    """That was every one that matters."""

    @property
    def red(self) -> bool:
        """The switch brings the bug back, and it is seen."""
        return self.violation is not None

    @property
    def green(self) -> bool:
        """Without it nothing is violated."""
        return self.replayed_clean and self.found_off is None

    @property
    def operations(self) -> int:
        """Hypercalls of the schedule."""
        return len({row.number for row in self.rows if row.first})


def show(exhibit: Exhibit) -> Shown:
    """Both sides."""
    on, off = exhibit.on.blueprint(), exhibit.off.blueprint()
    turns, kept = read(exhibit.schedule)
    red = _replayed(on, exhibit.schedule)
    rows = interleaving(on, turns, kept) if red.finding is not None else ()
    found, tried = _tried(off, exhibit.budget)
    return Shown(
        exhibit=exhibit,
        violation=None if red.finding is None else red.finding.violation,
        rows=rows,
        moves=red.steps,
        replayed_clean=_replayed(off, exhibit.schedule).finding is None,
        found_off=None if found.finding is None else found.finding.violation,
        tried_off=tried,
        exhausted=found.verdict == "exhausted",
    )


def _replayed(blueprint: Blueprint, schedule: str) -> Exploration:
    turns, kept = read(schedule)
    return explore(blueprint, ReplayScheduler(turns), Budget(schedules=1), kept=kept)


def _tried(blueprint: Blueprint, budget: int) -> tuple[Exploration, int]:
    """Every schedule, and where there are too many as many again by PCT, which looks farther afield."""
    found = explore(blueprint, ExhaustiveScheduler(), Budget(schedules=budget))
    tried = found.schedules
    if found.verdict == "budget":
        found = explore(blueprint, PctScheduler(PCT_SEED, PCT_DEPTH), Budget(schedules=budget))
        tried += found.schedules
    return found, tried
