"""When a guest swapped: sums over intervals that grow with its life, so that the report stays small."""

from typing import Final

from guests.report import SwapTime
from hypervisor.public.units import Pages, Seconds

MOST: Final = 256
"""Intervals at the most; with one more, all are made twice as long."""


class SwapTimes:
    """Intervals of one emulated second at first."""

    def __init__(self) -> None:
        self._seconds: Seconds = 1.0
        self._sums: dict[int, tuple[Pages, Pages]] = {}

    def add(self, now: Seconds, *, out: Pages = 0, back: Pages = 0) -> None:
        """So many pages are swapped out, or back in, now."""
        if not (out or back):
            return
        self._count(int(now // self._seconds), out, back)
        if len(self._sums) > MOST:
            sums, self._sums = self._sums, {}
            self._seconds *= 2
            for number, (earlier_out, earlier_back) in sums.items():
                self._count(number // 2, earlier_out, earlier_back)

    def _count(self, number: int, out: Pages, back: Pages) -> None:
        before = self._sums.get(number, (0, 0))
        self._sums[number] = (before[0] + out, before[1] + back)

    def intervals(self) -> tuple[SwapTime, ...]:
        """Those in which something was swapped, in the order of time."""
        seconds = self._seconds
        return tuple(
            SwapTime(float(number * seconds), seconds, *sums) for number, sums in sorted(self._sums.items())
        )
