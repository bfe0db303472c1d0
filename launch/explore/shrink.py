"""From a schedule that violates something to the smallest that violates the same: acts first, then turns.

Delta debugging by hand, because what makes a schedule small is not its length alone: fewer operations come
before fewer changes of turn, and these before fewer steps. Every candidate is run; one that violates the
same and is smaller takes the place of the smallest so far, until none is. No single act, turn or change of
turn can be left out of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from typing import Final

from launch.explore.blueprint import Blueprint
from launch.explore.execution import Choose, Execution
from launch.explore.footprint import Footprints
from launch.explore.schedule import Kept, Replay, Turn, Turns, turns_of, without_the_rule
from launch.explore.schedulers import PctScheduler
from launch.explore.search import Finding

Size = tuple[int, int, int]
"""(operations begun, changes of turn, moves): the smaller, the better to read."""
Segment = tuple[Turn, int]
SEARCHES: Final = 40
"""Schedules of PCT tried when a whole act was left out and the old schedule does not violate any more."""


MUST_RUN: Final = 2
"""Replays without which nothing is known."""


def size(execution: Execution) -> Size:
    """How much there is to read."""
    moves = [record.move for record in execution.records]
    operations = {
        (record.move.identity, id(record.request))
        for record in execution.records
        if record.request is not None
    }
    changes = sum(one.party != other.party for one, other in pairwise(moves))
    return len(operations), changes, len(moves)


class Shrinker:
    """Shrinks findings of one world."""

    def __init__(self, blueprint: Blueprint, spent: Callable[[], bool] = lambda: False) -> None:
        """`spent` is asked before every replay: True ends the work with the smallest so far."""
        self._blueprint = blueprint
        self._spent = spent
        self._footprints = Footprints()
        self.replays = 0
        """Schedules run to get there."""

    def shrink(self, finding: Finding) -> Finding:
        """The smallest that violates the same. A finding that does not repeat comes back as it is."""
        best = self._run(finding, finding.kept, Replay(finding.turns))
        if best is None:
            return finding
        kept = self._fewer_acts(finding, finding.kept or all_acts(self._blueprint))
        finding, best = kept
        turns = turns_of([record.move for record in best.records])
        improved = True
        while improved:
            improved = False
            for candidate in _candidates(turns):
                tried = self._run(finding, finding.kept, Replay(candidate))
                if tried is not None and size(tried) < size(best):
                    best, improved = tried, True
                    turns = turns_of([record.move for record in tried.records])
                    break
        return self._finding(best, finding.kept)

    def _fewer_acts(self, finding: Finding, kept: Kept) -> tuple[Finding, Execution]:
        best = self._run(finding, kept, Replay(finding.turns))
        assert best is not None
        for act in sorted(kept, reverse=True):
            fewer = kept - {act}
            tried = next(self._with_acts(finding, fewer), None)
            if tried is not None:
                best, kept = tried, fewer
                finding = self._finding(tried, kept)
        whole = kept == all_acts(self._blueprint)
        return self._finding(best, None if whole else kept), best

    def _with_acts(self, finding: Finding, kept: Kept) -> Iterator[Execution]:
        first = self._run(finding, kept, Replay(finding.turns))
        if first is not None:
            yield first
        searches = PctScheduler(0, 3)
        for _ in range(SEARCHES):
            tried = self._run(finding, kept, searches.begin())
            if tried is not None:
                yield tried

    def _run(self, finding: Finding, kept: Kept | None, choose: Choose) -> Execution | None:
        if self._spent() and self.replays >= MUST_RUN:
            return None
        self.replays += 1
        execution = Execution(self._blueprint, self._footprints, kept)
        execution.run(choose, stop_at_violation=True)
        violations = execution.scene.violations
        same = any(one.kind == finding.violation.kind for one in violations)
        return execution if same else None

    def _finding(self, execution: Execution, kept: Kept | None) -> Finding:
        turns = turns_of([record.move for record in execution.records])
        replay = Replay(turns)
        Execution(self._blueprint, self._footprints, kept).run(replay, stop_at_violation=True)
        return Finding(without_the_rule(turns, replay.followed), execution.scene.violations[0], kept)


def all_acts(blueprint: Blueprint) -> Kept:
    """Every act of every party."""
    execution = Execution(blueprint, Footprints())
    return frozenset((party, act) for party, count in enumerate(execution.acts) for act in range(count))


def _candidates(turns: Turns) -> Iterator[Turns]:
    segments = [(turn, len(list(group))) for turn, group in groupby(turns)]
    for place in range(len(segments)):
        yield _joined((*segments[:place], *segments[place + 1 :]))
    for place in range(len(segments) - 1):
        one, other = segments[place], segments[place + 1]
        yield _joined((*segments[:place], other, one, *segments[place + 2 :]))
    for place, (turn, count) in enumerate(segments):
        for fewer in sorted({count // 2, count - 1} - {0, count}):
            yield _joined((*segments[:place], (turn, fewer), *segments[place + 1 :]))
    for place in range(len(segments) - 2):
        # a3.b.a2 also as a4.b.a: a change of turn moves to where an operation ends.
        (turn, count), middle, (same, after) = segments[place : place + 3]
        if turn == same:
            for moved in range(1, after + 1):
                changed = ((turn, count + moved), middle, (same, after - moved))
                yield _joined((*segments[:place], *changed, *segments[place + 3 :]))


def _joined(segments: Iterable[Segment]) -> Turns:
    return tuple(turn for turn, count in segments for _ in range(count))
