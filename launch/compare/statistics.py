"""Means, paired differences and effect sizes, with 95 % confidence intervals of means.

Of FEW values and more: bootstrap, BCa (Efron 1987). Of fewer: Student's t. A bootstrap can only draw again
what it has seen: of 3, 5 and 9 values of a normal distribution its intervals held the mean in 77, 83 and 88 %
of 400 trials, Student's in 93 to 96 %; of an exponential one in 63, 81 and 88 %, against 89 to 92 %.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no annotations

bootstrap: Any = stats.bootstrap  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
students: Any = stats.t  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
RESAMPLES: Final = 9_999
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
    low, high = _students(values) if len(values) < FEW else _bootstrapped(values, seed)
    return Estimate(mean, low, high, len(values))


def _students(values: Sequence[float]) -> tuple[float, float]:
    """Student's t, with as many degrees of freedom as there are values, less one."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(students.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def _bootstrapped(values: Sequence[float], seed: int) -> tuple[float, float]:
    """BCa; where its acceleration cannot be had (values too much alike), plain percentiles."""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of degenerate resamples: they show as NaN, and are looked for
            found: Any = bootstrap(
                (np.asarray(values, dtype=float),),
                np.mean,
                n_resamples=RESAMPLES,
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(seed),
            )
        low, high = (float(bound) for bound in found.confidence_interval)
        if math.isfinite(low) and math.isfinite(high):
            return low, high
    return min(values), max(values)


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
    spread = float(np.std(pairs, ddof=1)) if len(pairs) > 1 else 0.0
    higher = sum((pair > 0) + (pair == 0) / 2 for pair in pairs) / len(pairs)
    return Difference(found, found.mean / spread if spread > 0 else None, higher)
