"""Means, paired differences and effect sizes, with 95 % confidence intervals of means.

Of FEW values and more: bootstrap, BCa (Efron 1987). Of fewer: Student's t. A bootstrap can only draw again
what it has seen: of 3, 5 and 9 values of a normal distribution its intervals held the mean in 77, 83 and 88 %
of 400 trials, Student's in 93 to 96 %; of an exponential one in 63, 81 and 88 %, against 89 to 92 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from statistics import stdev
from typing import Final

from msgspec import Struct

INTERVALS: Final = "launch.compare.intervals"
"""Imported when the first interval is asked for."""
CONFIDENCE: Final = 0.95
LEAST: Final = 3
"""Values below which no interval is given."""
FEW: Final = 10
"""Values from which on a bootstrap holds what it promises, or nearly so."""


class Estimate(Struct, frozen=True):
    """A mean over repeats; low and high None when there are too few values for an interval."""

    mean: float
    low: float | None
    high: float | None
    count: int


class Difference(Struct, frozen=True):
    """A variant's figure less the baseline's, repeat by repeat on the same seeds."""

    estimate: Estimate
    effect: float | None
    """Cohen's d_z: mean difference over its standard deviation. None when all differences are alike."""
    higher: float
    """Share of repeats in which the variant's figure is the higher one, ties counting half."""

    @property
    def clear(self) -> bool:
        """The interval leaves 0 out."""
        low, high = self.estimate.low, self.estimate.high
        return low is not None and high is not None and (low > 0 or high < 0)


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Mean and interval of at least one value."""
    mean = math.fsum(values) / len(values)
    if len(values) < LEAST:
        return Estimate(mean, None, None, len(values))
    if min(values) == max(values):
        return Estimate(mean, mean, mean, len(values))
    intervals = import_module(INTERVALS)
    if len(values) < FEW:
        low, high = intervals.students(values, CONFIDENCE)
    else:
        low, high = intervals.bootstrapped(values, CONFIDENCE, seed)
    return Estimate(mean, low, high, len(values))


def difference(
    values: Mapping[int, float | None], baseline: Mapping[int, float | None], seed: int = 0
) -> Difference | None:
    """Paired by repeat; None when no repeat has both."""
    pairs: list[float] = []
    for repeat, value in sorted(values.items()):
        other = baseline.get(repeat)
        if value is not None and other is not None:
            pairs.append(value - other)
    if not pairs:
        return None
    found = estimate(pairs, seed)
    spread = stdev(pairs) if len(pairs) > 1 else 0.0
    higher = sum((pair > 0) + (pair == 0) / 2 for pair in pairs) / len(pairs)
    return Difference(found, found.mean / spread if spread > 0 else None, higher)
