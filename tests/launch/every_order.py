"""Every schedule of a small world without any reduction, and what tells two of them apart."""

from __future__ import annotations

from collections.abc import Sequence

from launch.explore.blueprint import Blueprint
from launch.explore.execution import Choose, Execution
from launch.explore.footprint import Footprints, commute
from launch.explore.moves import Identity, Move
from launch.explore.schedulers import RedundantError, Scheduler

Form = tuple[tuple[tuple[Identity, int], ...], ...]
"""Foata's normal form: equal for two schedules that differ only in the order of moves that commute."""


class EveryOrder:
    """A depth-first search that tries every move in every state."""

    def __init__(self) -> None:
        self._path: list[list[int]] = []  # [taken, of how many]
        self._begun = False

    def begin(self) -> Choose | None:
        """The next in lexicographic order."""
        while self._begun and self._path and self._path[-1][0] + 1 == self._path[-1][1]:
            self._path.pop()
        if self._begun:
            if not self._path:
                return None
            self._path[-1][0] += 1
        self._begun = True
        place = 0

        def choose(moves: Sequence[Move]) -> Move:
            nonlocal place
            if place == len(self._path):
                self._path.append([0, len(moves)])
            place += 1
            return moves[self._path[place - 1][0]]

        return choose

    def ended(self, moves: Sequence[Move]) -> None:
        """Nothing is learnt."""


def normal_form(moves: Sequence[Move]) -> Form:
    """Each move as early as what it depends on allows."""
    levels: list[list[tuple[Identity, int]]] = []
    level_of: list[int] = []
    done: dict[Identity, int] = {}
    for index, move in enumerate(moves):
        before = [
            level_of[earlier]
            for earlier in range(index)
            if moves[earlier].party == move.party or not commute(moves[earlier].footprint, move.footprint)
        ]
        level = max(before, default=-1) + 1
        level_of.append(level)
        if level == len(levels):
            levels.append([])
        done[move.identity] = done.get(move.identity, 0) + 1
        levels[level].append((move.identity, done[move.identity]))
    return tuple(tuple(sorted(level)) for level in levels)


def forms(blueprint: Blueprint, scheduler: Scheduler) -> tuple[list[Form], set[str], set[bytes]]:
    """The normal forms of all schedules run, the classes of outcome, and the digests at the ends."""
    found: list[Form] = []
    outcomes: set[str] = set()
    digests: set[bytes] = set()
    footprints = Footprints()
    while (choose := scheduler.begin()) is not None:
        execution = Execution(blueprint, footprints)
        try:
            execution.run(choose, stop_at_violation=False)
        except RedundantError:
            continue
        moves = [record.move for record in execution.records]
        scheduler.ended(moves)
        found.append(normal_form(moves))
        outcomes.add(execution.outcome())
        digests.add(execution.scene.host.digest())
    return found, outcomes, digests
