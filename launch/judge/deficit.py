"""What a refusal left a guest without, and how much of its swap can be charged to whom.

A deficit is what a guest's balloon asked for and did not get. Whoever refused it is charged with swap up to
that many pages: more than was missing cannot have been swapped for it. A driver that is refused asks for the
same pages again and again, so only what goes beyond the deficit that it has already is new; what it gets
afterwards makes the deficit smaller, and giving pages back ends it. The calls of one attempt add up.

Swapped before the first refusal (`GuestReport.swapped_unrefused`), or beyond all deficits, was not caused by
any: it is the guest's own demand, which no refusal met, or met while its driver slept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hypervisor.public.memory import DecreaseReservation
from hypervisor.public.units import Pages, Seconds
from launch.judge.cases import Key
from launch.judge.ledger import Change
from launch.judge.verdict import Cause, GuestJudgement

ATTEMPT: Final[Seconds] = 1.0
"""Refusals less than that apart are of one attempt: a driver waits 2 emulated seconds or more (G5)."""


class _Standing:
    """Of one domain, while the journal goes by."""

    __slots__ = ("asked", "at", "before", "pages", "since")

    def __init__(self) -> None:
        self.pages: Pages = 0
        """Missing now."""
        self.before: Pages = 0
        """Of these, missing already when the attempt under way began."""
        self.asked: Pages = 0
        """Refused to the attempt under way."""
        self.at: Seconds | None = None
        self.since: dict[Cause, Pages] = {}
        """New deficits, by who refused."""


class Deficits:
    """Told of what balloons were refused, of the time and of pages that moved."""

    def __init__(self) -> None:
        self._domains: dict[Key, _Standing] = {}
        self._now: Seconds | None = None

    def clock(self, now: Seconds) -> None:
        """What is told from here on was done by `now`."""
        self._now = now

    def refused(self, key: Key, cause: Cause, pages: Pages) -> None:
        """A call of its balloon has ended with so many pages not got."""
        one = self._domains.setdefault(key, _Standing())
        if not self._same_attempt(one):
            one.before, one.asked = one.pages, 0
        one.at = self._now
        already = max(one.before, one.asked)
        one.asked += pages
        new = max(one.asked - already, 0)
        one.pages = one.asked
        one.since[cause] = one.since.get(cause, 0) + new

    def changed(self, change: Change) -> None:
        """A step moved pages."""
        if not self._domains:
            return
        for key, delta in change.moved:
            one = self._domains.get(key)
            if one is not None and one.pages:
                self._moved(one, change, delta)

    def _moved(self, one: _Standing, change: Change, delta: int) -> None:
        given = delta < 0 and isinstance(change.one.operation.request, DecreaseReservation)
        got = one.pages if given else max(delta, 0)
        one.pages = max(one.pages - got, 0)
        one.before = max(one.before - got, 0)

    def _same_attempt(self, one: _Standing) -> bool:
        return one.at is not None and self._now is not None and self._now - one.at < ATTEMPT

    def of(self, key: Key) -> Mapping[Cause, Pages]:
        """What refusals left that domain without, each page once, by who refused it."""
        one = self._domains.get(key)
        return {} if one is None else {cause: pages for cause, pages in one.since.items() if pages}


def swap_charged(guest: GuestJudgement) -> Mapping[Cause, float]:
    """Its swapped pages by cause; what no refusal explains to DEMAND."""
    return _charged(guest, guest.swapped)


def kills_charged(guest: GuestJudgement) -> Mapping[Cause, float]:
    """Its OOM kills, in the shares of its swap: they come when that is full."""
    return _charged(guest, guest.oom_kills)


def _charged(guest: GuestJudgement, amount: float) -> Mapping[Cause, float]:
    if not amount:
        return {}
    shares = _shares(guest)
    rest = amount * (1 - sum(shares.values()))
    found = {cause: amount * share for cause, share in shares.items()}
    return found if rest <= amount * 1e-9 else {**found, Cause.DEMAND: rest}


def _shares(guest: GuestJudgement) -> Mapping[Cause, float]:
    """Of its pain, by cause; together 1 at most."""
    deficit = sum(one.deficit for one in guest.refused)
    after = guest.swapped - guest.swapped_unrefused if guest.swapped else deficit
    if not deficit or after <= 0:
        return {}
    explained = min(deficit, after) / max(guest.swapped, after)
    causes: Sequence[tuple[Cause, Pages]] = [(one.cause, one.deficit) for one in guest.refused if one.deficit]
    return {cause: explained * pages / deficit for cause, pages in causes}
