"""Percentiles and roundings of the figures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The percentile of a sample, None when it is empty, the value itself when there is one.

    `statistics.quantiles`, method "inclusive": the smallest value is the 0th percentile, the largest the
    100th, straight lines between neighbours (type 7 of Hyndman and Fan).
    """
    if len(values) < 2:
        return rounded(values[0]) if values else None
    return rounded(quantiles(values, n=100, method="inclusive")[percent - 1])


def rounded(value: float) -> float:
    """To a microsecond, or a millionth of a call: the rest is noise of the floating point."""
    return round(value, 6)
