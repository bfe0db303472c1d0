"""A figure: what is measured, against which anchor, and how a row of the table comes out of its rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

Pair = tuple[float, float]
"""(value, the anchor's value) of one round, both in the figure's unit."""


class SkippedError(Exception):
    """The figure cannot be measured here; the text says what is missing."""


@dataclass(frozen=True)
class Plan:
    """How thoroughly to measure."""

    rounds: int
    quick: bool = False

    def scaled(self, full: float, quick: float) -> float:
        """`full`, or `quick` when only the machinery is to be tried."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Figure:
    """One row to be. `measure` yields a pair for each round, both halves measured one after the other."""

    name: str
    """What --only is given."""
    figure: str
    anchor: str
    unit: str
    target: float
    measure: Callable[[Plan], Iterator[Pair]]
    at_most: bool = False
    """The ratio is to stay at or under the target: a cost, not a rate."""


@dataclass(frozen=True)
class Row:
    """A figure's outcome; value, anchor_value and ratio are medians over the rounds, None when skipped."""

    name: str
    figure: str
    anchor: str
    unit: str
    value: float | None
    anchor_value: float | None
    ratio: float | None
    target: float
    at_most: bool
    met: bool | None
    rounds: int
    note: str = ""


def row(figure: Figure, plan: Plan) -> Row:
    """Measure a figure. The ratio is the median of the rounds' ratios: both halves saw the same machine."""
    try:
        pairs = list(figure.measure(plan))
    except SkippedError as reason:
        return _row(figure, None, None, None, 0, str(reason))
    ratio = median(value / anchor for value, anchor in pairs)
    values, anchors = zip(*pairs, strict=True)
    return _row(figure, median(values), median(anchors), ratio, len(pairs), "")


def _row(
    figure: Figure, value: float | None, anchor: float | None, ratio: float | None, rounds: int, note: str
) -> Row:
    met = None
    if ratio is not None:
        met = ratio <= figure.target if figure.at_most else ratio >= figure.target
    return Row(
        figure.name,
        figure.figure,
        figure.anchor,
        figure.unit,
        value,
        anchor,
        ratio,
        figure.target,
        figure.at_most,
        met,
        rounds,
        note,
    )
