"""A figure over time in bounded memory: what a chart shows of millions of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypervisor.public.units import Seconds

Point = tuple[Seconds, int]

KEPT_OF_SLOT: Final = 4
"""Points that stand for one slot of time: its first, lowest, highest and last."""


class Curve:
    """A step function of emulated time. Extremes survive thinning, so a short dip is still seen."""

    def __init__(self, limit: int = 1200) -> None:
        """`limit`: points kept, at most."""
        self._limit = limit
        self.points: list[Point] = []

    def add(self, time: Seconds, value: int) -> None:
        """From `time` on it is `value`. Times do not fall."""
        points = self.points
        if points and points[-1][1] == value:
            return
        points.append((time, value))
        if len(points) > self._limit:
            self._thin()

    def end(self, time: Seconds) -> None:
        """The last value holds until `time`."""
        if self.points and self.points[-1][0] < time:
            self.points.append((time, self.points[-1][1]))

    def _thin(self) -> None:
        """Slots so wide that half the room is free."""
        span = self.points[-1][0] - self.points[0][0]
        slots = max(self._limit // (2 * KEPT_OF_SLOT) - 1, 1)
        self.points = thinned(self.points, span / slots)


def thinned(points: Sequence[Point], width: Seconds) -> list[Point]:
    """Of every slot of `width` seconds its first, lowest, highest and last point, in their order."""
    kept: list[Point] = []
    slot: list[Point] = []
    start = points[0][0] if points else 0.0
    for point in points:
        if slot and point[0] - start > width:
            kept += _outline(slot)
            slot, start = [], point[0]
        slot.append(point)
    return kept + _outline(slot)


def _outline(slot: Sequence[Point]) -> list[Point]:
    if len(slot) <= KEPT_OF_SLOT:
        return list(slot)
    values = [value for _, value in slot]
    chosen = {0, values.index(min(values)), values.index(max(values)), len(slot) - 1}
    return [slot[index] for index in sorted(chosen)]
