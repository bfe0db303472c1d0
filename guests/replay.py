"""Replay of a recorded memory demand, streamed: only the two samples around the present second are held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from guests.traces.errors import TraceError

Point: TypeAlias = tuple[float, int]
"""(second of the trace, pages), seconds never falling."""


@dataclass(slots=True)
class _Cursor:
    """The pair of points around one second of the trace."""

    points: Iterator[Point]
    left: Point
    right: Point | None

    def seek(self, second: float) -> bool:
        """Move forward until `second` lies before `right`; false when the trace ends at it or before it."""
        while self.right is not None and self.right[0] <= second:
            self.left = self.right
            self.right = next(self.points, None)
        return self.right is not None

    def pages(self, second: float, max_gap: float) -> float:
        """Interpolate linearly; over a gap longer than `max_gap` seconds the last known value stands."""
        if self.right is None or second <= self.left[0] or self.right[0] - self.left[0] > max_gap:
            return self.left[1]
        share = (second - self.left[0]) / (self.right[0] - self.left[0])
        return self.left[1] + share * (self.right[1] - self.left[1])


def _open(open_points: Callable[[], Iterator[Point]]) -> _Cursor:
    points = open_points()
    first = next(points, None)
    if first is None:
        raise TraceError("the replayed trace holds no samples: choose a file or window that has some")
    return _Cursor(points, first, next(points, None))


@dataclass(slots=True)
class Replay:
    """A workload read from a trace.

    open_points: opens the trace from its beginning; called again to loop or when an earlier second is asked
        for.
    start, length: the window replayed, in seconds of the trace; without `length` to the end of the trace.
    speedup: seconds of the trace that pass in one emulated second.
    scale, floor, ceiling: demand is min(ceiling, max(floor, scale x pages)); 1.3 with a floor of 200 MB is
        what the Qubes balancer (qmemman) makes of the used memory.
    after: what follows the window: its last value ("hold") or its beginning ("loop").
    max_gap: samples further apart than this many seconds are missing data and are not interpolated.
    """

    open_points: Callable[[], Iterator[Point]]
    start: float = 0.0
    length: float | None = None
    speedup: float = 1.0
    scale: float = 1.0
    floor: int = 0
    ceiling: int | None = None
    after: Literal["hold", "loop"] = "hold"
    max_gap: float = 900.0
    _cursor: _Cursor | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ValueError(f"replay start {self.start} s: must be 0 or more")
        if self.length is not None and self.length <= 0:
            raise ValueError(f"replay length {self.length} s: must be above 0")
        if self.speedup <= 0 or self.scale < 0:
            raise ValueError(
                f"replay speedup {self.speedup}, scale {self.scale}: need speedup > 0, scale >= 0"
            )

    def demand(self, t: float) -> int:
        """Pages wanted at emulated second `t`; TraceError when the trace is empty, damaged or too short."""
        pages = round(self.scale * self._recorded(t))
        pages = max(self.floor, pages)
        return pages if self.ceiling is None else min(self.ceiling, pages)

    def _recorded(self, t: float) -> float:
        second = self._second(t)
        cursor = self._cursor_at(second)
        if not cursor.seek(second):
            # The answer must not depend on whether the end was known when the question came.
            self._end_found(cursor.left[0])
            second = self._second(t)
            cursor = self._cursor_at(second)
            cursor.seek(second)
        return cursor.pages(second, self.max_gap)

    def _second(self, t: float) -> float:
        """The second of the trace that stands for emulated second `t`."""
        passed = t * self.speedup
        if self.length is not None and passed >= self.length:
            passed = passed % self.length if self.after == "loop" else self.length
        return self.start + passed

    def _cursor_at(self, second: float) -> _Cursor:
        if self._cursor is None or second < self._cursor.left[0]:
            self._cursor = _open(self.open_points)
        return self._cursor

    def _end_found(self, end: float) -> None:
        """The trace ended at second `end`: the window ends there too."""
        if end <= self.start and self.start > 0:
            raise TraceError(
                f"replay starts at second {self.start}, but the trace ends at {end}: start earlier"
            )
        if end <= self.start:  # a single sample: it is all there is to repeat
            self.after = "hold"
        self.length = end - self.start
