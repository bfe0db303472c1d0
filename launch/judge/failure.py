"""Launches that failed after they had been admitted: what was wasted on them, and who took the memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from hypervisor.public.units import Commit, Pages, Seconds
from launch.judge.cases import Case, Key
from launch.judge.ledger import Change
from launch.judge.verdict import Cause, Failure
from launch.judge.window import Movements
from launch.launches import Verdict

NAMED_MOST: Final = 3
"""Takers that a failure names."""


class _Failed:
    """One of them while the journal goes by."""

    __slots__ = ("area", "case", "cause", "free", "held", "others", "refused_at")

    def __init__(self, case: Case) -> None:
        self.case = case
        self.held: Pages = 0
        self.area = 0.0
        self.others = Movements()
        self.cause: Cause | None = None
        self.refused_at: Commit = 0
        self.free: Pages = 0


class Failures:
    """Told of every change and refusal; knows beforehand which launches will fail."""

    def __init__(self, cases: Iterable[Case]) -> None:
        failed = [case for case in cases if case.verdict is Verdict.FAILED_LATE]
        self._failed = [_Failed(case) for case in failed]
        self._by_domain = {one.case.domain: one for one in self._failed if one.case.domain is not None}
        self._now: Seconds | None = None

    def changed(self, change: Change) -> None:
        """A step moved pages."""
        if not self._failed:
            return
        for key, delta in change.moved:
            own = self._by_domain.get(key)
            if own is not None:
                own.held += delta
            for one in self._failed:
                if one is not own and one.case.decided < change.commit <= one.case.ended:
                    one.others.add(change, key, delta)

    def refused(self, key: Key, cause: Cause, commit: Commit, free: Pages) -> None:
        """An allocation for that domain was refused. The last before the end of the build ended it."""
        one = self._by_domain.get(key)
        if one is not None and commit <= one.case.ended:
            one.cause, one.refused_at, one.free = cause, commit, free

    def clock(self, now: Seconds) -> None:
        """What is told from here on was done by `now`; what is held has been held since the last time."""
        if self._now is not None:
            for one in self._failed:
                if one.held:
                    one.area += one.held * (now - self._now)
        self._now = now

    def failures(self) -> Mapping[int, Failure]:
        """By order number."""
        return {one.case.number: _failure(one) for one in self._failed}


def _failure(one: _Failed) -> Failure:
    takers = tuple(one.others.by_growth()[:NAMED_MOST])
    return Failure(one.area, one.cause, one.refused_at, one.free, takers)
