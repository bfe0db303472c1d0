"""Confidence intervals of a mean; `launch.compare.statistics` chooses among them.

It imports this module when one is asked for: scipy takes longer to import than a small run to simulate.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no annotations

bootstrap: Any = stats.bootstrap  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
students_t: Any = stats.t  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
RESAMPLES: Final = 9_999


def students(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Student's t, with as many degrees of freedom as there are values, less one."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(students_t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def bootstrapped(values: Sequence[float], confidence: float, seed: int) -> tuple[float, float]:
    """BCa; where its acceleration cannot be had (values too much alike), plain percentiles."""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of degenerate resamples: they show as NaN, and are looked for
            found: Any = bootstrap(
                (np.asarray(values, dtype=float),),
                np.mean,
                n_resamples=RESAMPLES,
                confidence_level=confidence,
                method=method,
                rng=np.random.default_rng(seed),
            )
        low, high = (float(bound) for bound in found.confidence_interval)
        if math.isfinite(low) and math.isfinite(high):
            return low, high
    return min(values), max(values)
