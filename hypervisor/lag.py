"""How late a process wakes up: what the machine's load does to the timings of a run.

Whoever sleeps tells when it wanted to be awake again and when it was. Little is kept, so that it can be asked
after every sleep of a run: a count for each eighth of a power of two.
"""

from __future__ import annotations

from typing import Final

from hypervisor.public.lag import Lag

BITS: Final = 63
"""Powers of two of a nanosecond; the last is some 290 years."""
EIGHTHS: Final = 8
"""Classes of a power of two: with one alone a lag is told up to twice as long as it was."""


def class_of(late_ns: int) -> int:
    """The class of a lag of at least 0 ns: exact below 16, then eighths of its power of two."""
    shift = max(late_ns.bit_length() - 4, 0)
    return EIGHTHS * shift + (late_ns >> shift)


def end_of(number: int) -> int:
    """The longest lag of a class, ns."""
    shift = max(number // EIGHTHS - 1, 0)
    return ((number - EIGHTHS * shift + 1) << shift) - 1


class LagMeter:
    """Told of every sleep that nothing but the clock ended."""

    __slots__ = ("_counts", "_worst")

    def __init__(self) -> None:
        self._counts = [0] * (class_of((1 << BITS) - 1) + 1)
        self._worst = 0

    def overslept(self, late_ns: int) -> None:
        """One sleep ended `late_ns` after the moment it was to end; before it counts as in time."""
        late = max(late_ns, 0)
        self._counts[class_of(min(late, (1 << BITS) - 1))] += 1
        self._worst = max(self._worst, late)

    def lag(self) -> Lag:
        """So far."""
        count = sum(self._counts)
        return Lag(self._percentile(count - count // 100) / 1e9, self._worst / 1e9, count)

    def _percentile(self, rank: int) -> int:
        """Upper end of the class that holds the sleep of that rank, counted from 1."""
        for number, count in enumerate(self._counts):
            rank -= count
            if rank <= 0:
                return min(end_of(number), self._worst)
        return self._worst
