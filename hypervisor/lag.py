"""How late a process wakes up: what the machine's load does to the timings of a run.

Whoever sleeps tells when it wanted to be awake again and when it was. Hardly anything is kept, so that it can
be asked after every sleep of a run: a count for each power of two.
"""

from __future__ import annotations

from typing import Final

from hypervisor.public.lag import Lag

BITS: Final = 63
"""Powers of two of a nanosecond; the last is some 290 years."""


class LagMeter:
    """Told of every sleep that nothing but the clock ended."""

    __slots__ = ("_counts", "_worst")

    def __init__(self) -> None:
        self._counts = [0] * (BITS + 1)
        self._worst = 0

    def overslept(self, late_ns: int) -> None:
        """One sleep ended `late_ns` after the moment it was to end; before it counts as in time."""
        late = max(late_ns, 0)
        self._counts[min(late.bit_length(), BITS)] += 1
        self._worst = max(self._worst, late)

    def lag(self) -> Lag:
        """So far."""
        count = sum(self._counts)
        return Lag(self._percentile(count - count // 100) / 1e9, self._worst / 1e9, count)

    def _percentile(self, rank: int) -> int:
        """Upper end of the class that holds the sleep of that rank, counted from 1."""
        for bits, count in enumerate(self._counts):
            rank -= count
            if rank <= 0:
                return min((1 << bits) - 1, self._worst)
        return self._worst
