"""Which balloon drivers work: the 5-second and the 20-second rule (Q3). Pure: the caller tells the time.

Its own documents admit the holes, and they are kept: one page of progress in 5 s counts as active, and a
domain that is inactive for 19 s and active for one is never found uncooperative.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hypervisor.public.units import Pages, Seconds
from toolstack.limits import Key


@dataclass(slots=True)
class _Record:
    target: Pages
    distance: Pages
    progress: Seconds
    """When it last came nearer to its target, reached it, or was given another."""
    inactive_since: Seconds | None = None


class Activity:
    """What was seen of every domain so far."""

    def __init__(self, stuck_seconds: Seconds, uncooperative_seconds: Seconds, tolerance: Pages) -> None:
        self._stuck = stuck_seconds
        self._uncooperative = uncooperative_seconds
        self._tolerance = tolerance
        self._records: dict[Key, _Record] = {}

    def observe(self, key: Key, actual: Pages, target: Pages, now: Seconds) -> None:
        """A domain with that target was seen to have `actual` pages."""
        distance = abs(actual - target)
        record = self._records.get(key)
        if record is None:
            self._records[key] = _Record(target, distance, now)
            return
        if target != record.target or distance < record.distance or distance <= self._tolerance:
            record.progress = now
        record.target, record.distance = target, distance
        if now - record.progress < self._stuck:
            record.inactive_since = None
        elif record.inactive_since is None:
            record.inactive_since = now

    def is_active(self, key: Key) -> bool:
        """False after 5 s off its target without progress."""
        return self._records[key].inactive_since is None

    def is_uncooperative(self, key: Key, now: Seconds) -> bool:
        """True after 20 s of inactivity."""
        since = self._records[key].inactive_since
        return since is not None and now - since >= self._uncooperative

    def forget_others(self, keys: Collection[Key]) -> None:
        """Drop the domains that are no more."""
        self._records = {key: record for key, record in self._records.items() if key in keys}
