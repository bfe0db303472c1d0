"""Synthetic memory demand: the pages a guest wants, as a function of emulated seconds since it started."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Protocol


class Workload(Protocol):
    """What a guest's programs want.

    `demand` is a function: the same `t` always gives the same answer, in whatever order the answers are asked
    for. Asking in rising order is the cheap direction.
    """

    def demand(self, t: float) -> int:
        """Pages wanted at emulated second `t` (0 is the guest's start, never negative)."""
        ...


def _require(holds: bool, cure: str) -> None:
    if not holds:
        raise ValueError(cure)


def _fraction_of_period(t: float, period: float, phase: float) -> float:
    """Where `t` falls in its period, in [0, 1); `phase`, a fraction of a period, moves the wave left."""
    return (t / period + phase) % 1.0


@dataclass(frozen=True, slots=True)
class Constant:
    """Always `pages`."""

    pages: int

    def __post_init__(self) -> None:
        _require(self.pages >= 0, f"constant demand of {self.pages} pages: pages must be 0 or more")

    def demand(self, t: float) -> int:
        """Pages wanted at emulated second `t`."""
        return self.pages


@dataclass(frozen=True, slots=True)
class Sine:
    """The "worst-case domain" of the January 2013 debate: a high-frequency, high-amplitude sine wave.

    `mean` and `amplitude` in pages, `period` in emulated seconds, `phase` a fraction of a period. At phase 0
    the wave starts at the mean and rises; at 0.75 it starts at the trough, where a toolstack that samples at
    t=0 is misled most.
    """

    mean: int
    amplitude: int
    period: float
    phase: float = 0.0

    def __post_init__(self) -> None:
        _require(self.period > 0, f"sine period {self.period} s: must be above 0")
        _require(
            0 <= self.amplitude <= self.mean,
            f"sine amplitude {self.amplitude} pages: must lie in 0..mean ({self.mean}), "
            "a demand cannot be negative",
        )

    def demand(self, t: float) -> int:
        """Pages wanted at emulated second `t`."""
        turn = _fraction_of_period(t, self.period, self.phase)
        return self.mean + round(self.amplitude * math.sin(math.tau * turn))


@dataclass(frozen=True, slots=True)
class Square:
    """`high` pages for the first `duty` (a fraction) of every `period` seconds, `low` pages for the rest."""

    low: int
    high: int
    period: float
    duty: float = 0.5
    phase: float = 0.0

    def __post_init__(self) -> None:
        _require(self.period > 0, f"square period {self.period} s: must be above 0")
        _require(0 <= self.duty <= 1, f"square duty {self.duty}: must be a fraction in 0..1")
        _require(
            0 <= self.low <= self.high, f"square low {self.low}, high {self.high}: need 0 <= low <= high"
        )

    def demand(self, t: float) -> int:
        """Pages wanted at emulated second `t`."""
        return self.high if _fraction_of_period(t, self.period, self.phase) < self.duty else self.low


@dataclass(slots=True)
class RandomWalk:
    """A walk between reflecting walls: every `interval` seconds the demand moves by at most `step` pages.

    One draw from `rng` at construction seeds the walk, so workloads that share a stream do not disturb one
    another later. Only the present place is remembered; asking for an earlier second walks again from the
    start, so memory stays constant and the answers repeat.
    """

    start: int
    step: int
    low: int
    high: int
    interval: float
    rng: Random
    _seed: int = field(init=False)
    _steps_taken: int = field(init=False, default=0)
    _place: int = field(init=False)
    _walk: Random = field(init=False)

    def __post_init__(self) -> None:
        _require(self.interval > 0, f"random walk interval {self.interval} s: must be above 0")
        _require(self.step >= 0, f"random walk step {self.step} pages: must be 0 or more")
        _require(
            0 <= self.low <= self.start <= self.high,
            f"random walk low {self.low}, start {self.start}, high {self.high}: "
            "need 0 <= low <= start <= high",
        )
        self._seed = self.rng.getrandbits(64)
        self._rewind()

    def _rewind(self) -> None:
        self._walk = Random(self._seed)
        self._steps_taken = 0
        self._place = self.start

    def _reflect(self, place: int) -> int:
        if place > self.high:
            place = 2 * self.high - place
        elif place < self.low:
            place = 2 * self.low - place
        # A step longer than the room between the walls would come out on the other side.
        return min(self.high, max(self.low, place))

    def demand(self, t: float) -> int:
        """Pages wanted at emulated second `t`."""
        steps = int(t / self.interval)
        if steps < self._steps_taken:
            self._rewind()
        while self._steps_taken < steps:
            self._place = self._reflect(self._place + self._walk.randint(-self.step, self.step))
            self._steps_taken += 1
        return self._place
