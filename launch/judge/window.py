"""The TOCTOU window of every decision: what moved between its first sample and its last check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hypervisor.public.units import Commit, Seconds
from launch.judge.cases import Case, Key
from launch.judge.ledger import Change
from launch.judge.verdict import Mover, Window


class Movements:
    """Domains whose tot_pages changed, summed."""

    def __init__(self) -> None:
        self._movers: dict[Key, Mover] = {}

    def add(self, change: Change, key: Key, delta: int) -> None:
        """One step's part."""
        operation, commit = change.one.operation.number, change.commit
        was = self._movers.get(key, Mover(*key, 0, 0, operation, commit, operation, commit))
        up, down = was.up + max(delta, 0), was.down + max(-delta, 0)
        first = was.first_operation, was.first_commit
        self._movers[key] = Mover(*key, up, down, *first, operation, commit)

    def by_growth(self) -> list[Mover]:
        """Who gained most, first; those that gained nothing are left out."""
        grown = [one for one in self._movers.values() if one.up > one.down]
        return sorted(grown, key=lambda one: (one.down - one.up, one.domid))

    def by_movement(self) -> list[Mover]:
        """Who moved most, up and down, first."""
        return sorted(self._movers.values(), key=lambda one: (-one.up - one.down, one.domid))


class _Open:
    """A window that has begun."""

    __slots__ = ("began", "case", "ended", "guests", "sums")

    def __init__(self, case: Case, began: Seconds | None) -> None:
        self.case = case
        self.guests = Movements()
        self.sums = [0, 0, 0, 0]
        """guests' gains and losses, the control domain's."""
        self.began = began
        self.ended: Seconds | None = None


class Windows:
    """Told of every change; answers for every launch that names its first sample."""

    def __init__(self, cases: Iterable[Case]) -> None:
        known = [case for case in cases if case.decided and 0 < case.sampled <= case.decided]
        self._coming = sorted(known, key=lambda case: case.sampled, reverse=True)
        self._open: list[_Open] = []
        self._all: list[_Open] = []

    def reached(self, commit: Commit, now: Seconds | None) -> None:
        """The step with that commit is done, by `now`, and what it changed has been told."""
        while self._coming and self._coming[-1].sampled <= commit:
            one = _Open(self._coming.pop(), now)
            self._open.append(one)
            self._all.append(one)
        if self._open:
            for one in self._open:
                if one.case.decided <= commit:
                    one.ended = now
            self._open = [one for one in self._open if one.case.decided > commit]

    def changed(self, change: Change) -> None:
        """A step moved pages. To be told before `reached`: the sampling step belongs to no window."""
        if not change.moved or not self._open:
            return
        own = change.one.operation.caller
        for one in self._open:
            for key, delta in change.moved:
                if key == one.case.domain:
                    continue
                place = (2 if own.privileged else 0) + (delta < 0)
                one.sums[place] += abs(delta)
                if not own.privileged:
                    one.guests.add(change, key, delta)

    def windows(self) -> Mapping[int, Window]:
        """By order number."""
        return {one.case.number: _window(one) for one in self._all}


def _window(one: _Open) -> Window:
    seconds = None if one.began is None or one.ended is None else one.ended - one.began
    movers = one.guests.by_movement()
    guests_up, guests_down, others_up, others_down = one.sums
    return Window(
        sampled=one.case.sampled,
        decided=one.case.decided,
        seconds=seconds,
        guests_up=guests_up,
        guests_down=guests_down,
        others_up=others_up,
        others_down=others_down,
        witness=movers[0] if movers else None,
    )
