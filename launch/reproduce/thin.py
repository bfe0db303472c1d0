"""Makes a recorded interleaving small enough for the explorer's shrinker, which tries one thing at a time.

Operations are left out in halves, quarters and so on (Zeller and Hildebrandt, 2002); then whole operations
are done one after the other, in the order in which they ended or began, where that violates the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

from launch.explore.blueprint import Blueprint
from launch.explore.execution import Choose, Execution
from launch.explore.footprint import Footprints
from launch.explore.schedule import Kept, Replay, Turns, turns_of
from launch.explore.schedulers import PctScheduler
from launch.explore.search import Finding
from launch.explore.shrink import SEARCHES, all_acts, size
from launch.reproduce.world import RecordedWorld

Act = tuple[int, int]


class Thinner:
    """For findings of one recorded world."""

    def __init__(self, blueprint: Blueprint, spent: Callable[[], bool]) -> None:
        """`spent` is asked between two replays: True ends the work with the smallest so far."""
        self._blueprint = blueprint
        self._spent = spent
        self._footprints = Footprints()
        self._acts = _acts(cast(RecordedWorld, blueprint.world))
        self.replays = 0

    def thin(self, finding: Finding) -> Finding:
        """The same violation with fewer operations and fewer changes of turn. May be the finding itself."""
        kept = finding.kept or all_acts(self._blueprint)
        best = self._run(finding, kept, Replay(finding.turns))
        if best is None:
            return finding
        best, kept = self._fewer(finding, best, kept)
        for turns in _in_whole(best):
            tried = self._run(finding, kept, Replay(turns))
            if tried is not None and size(tried) < size(best):
                best = tried
        return Finding(_turns(best), best.scene.violations[0], kept)

    def again(self, finding: Finding) -> Finding | None:
        """The same violation in this world, for a finding of one that is nearly the same; None: not found."""
        kept = finding.kept or all_acts(self._blueprint)
        searches = PctScheduler(0, 3)
        choosers: list[Choose] = [Replay(finding.turns), *(searches.begin() for _ in range(SEARCHES))]
        for choose in choosers:
            tried = self._run(finding, kept, choose)
            if tried is not None:
                return Finding(_turns(tried), tried.scene.violations[0], kept)
        return None

    def _fewer(self, finding: Finding, best: Execution, kept: Kept) -> tuple[Execution, Kept]:
        length = max(len(kept) // 2, 1)
        while not self._spent():
            for part in _parts(sorted(kept, reverse=True), length):
                fewer = kept - frozenset(part)
                tried = self._run(finding, fewer, Replay(self._without(best, frozenset(part))))
                if tried is not None:
                    best, kept = tried, fewer
            if length == 1:
                break
            length = max(min(length, len(kept)) // 2, 1)
        return best, kept

    def _without(self, execution: Execution, left_out: frozenset[Act]) -> Turns:
        """Its turns but for those of these acts."""
        return tuple(
            (record.move.party, record.move.nth)
            for record in execution.records
            if self._acts.get(id(record.request)) not in left_out
        )

    def _run(self, finding: Finding, kept: Kept, choose: Choose) -> Execution | None:
        if self._spent():
            return None
        self.replays += 1
        execution = Execution(self._blueprint, self._footprints, kept)
        execution.run(choose, stop_at_violation=True)
        same = any(one.kind == finding.violation.kind for one in execution.scene.violations)
        return execution if same else None


def _acts(world: RecordedWorld) -> dict[int, Act]:
    """By the identity of the request that an act makes, for acts that are one request."""
    return {
        id(one.request): (party, number)
        for party, role in enumerate(world.roles)
        if role.case is None
        for number, one in enumerate(role.operations)
    }


def _parts(acts: Sequence[Act], length: int) -> Iterator[Sequence[Act]]:
    for place in range(0, len(acts), length):
        yield acts[place : place + length]


def _turns(execution: Execution) -> Turns:
    return turns_of([record.move for record in execution.records])


def _in_whole(execution: Execution) -> Iterator[Turns]:
    """Every operation without a break: by when each ended, by when each began, and party after party."""
    keys = [(record.move.party, id(record.request)) for record in execution.records]
    turns = _turns(execution)
    last = {key: place for place, key in enumerate(keys)}
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    for places in (last, first):
        order = sorted(range(len(keys)), key=lambda place: (places[keys[place]], place))
        yield tuple(turns[place] for place in order)
