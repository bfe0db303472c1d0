"""From the figures of every cell to a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from launch.compare.statistics import Estimate, estimate
from launch.debate.experiment import Experiment, Kind, Question, Verdict
from launch.debate.figures import Figures, asked

Cells = Mapping[tuple[float, str, int], Figures]
"""(x, arm, seed) -> figures."""


class Standing(StrEnum):
    """Of the claim at one point."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "open"  # the interval includes the threshold, or there was nothing to measure


@dataclass(frozen=True, slots=True)
class PointFinding:
    """What one point says."""

    x: float
    interval: Estimate | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Finding:
    """What all points together say."""

    verdict: Verdict
    points: tuple[PointFinding, ...]
    boundary: tuple[float, float] | None = None
    """The two points of the sweep between which it changes."""
    slope: Estimate | None = None


def find(experiment: Experiment, cells: Cells) -> Finding:
    """Answer the experiment's question from its cells."""
    question = experiment.question
    xs = sorted({x for x, _, _ in cells})
    values = {x: list(_values(question, cells, x)) for x in xs}
    points = tuple(_point(question, x, values[x]) for x in xs)
    match question.kind:
        case Kind.EACH:
            return _from_points(points)
        case Kind.ZERO:
            return Finding(_all_zero(values), points)
        case Kind.GROWS:
            return _from_slope(question, cells, points)


def _values(question: Question, cells: Cells, x: float) -> Iterator[float]:
    """One for each seed: the arm's own, or the first arm's less the second's."""
    for seed in sorted({seed for at, _, seed in cells if at == x}):
        found = [asked(cells[x, arm, seed], question.figure, question.per) for arm in question.arms]
        known = [one for one in found if one is not None]
        if len(known) == len(found):
            yield known[0] if len(known) == 1 else known[0] - known[1]


def _point(question: Question, x: float, values: Sequence[float]) -> PointFinding:
    if not values:
        return PointFinding(x, None, Standing.OPEN)
    interval = estimate(values)
    return PointFinding(x, interval, _standing(question, interval))


def _standing(question: Question, interval: Estimate) -> Standing:
    low, high = interval.low, interval.high
    if low is None or high is None:
        return Standing.OPEN  # too few values
    if question.above is not None:
        if low > question.above:
            return Standing.HOLDS
        return Standing.FAILS if high <= question.above else Standing.OPEN
    if question.below is not None:
        if high < question.below:
            return Standing.HOLDS
        return Standing.FAILS if low >= question.below else Standing.OPEN
    return Standing.HOLDS if low == high == 0 else Standing.FAILS


def _from_points(points: tuple[PointFinding, ...]) -> Finding:
    """One change along the sweep is a boundary; open points are allowed only where it changes."""
    known = [point for point in points if point.standing is not Standing.OPEN]
    kinds = [point.standing for point in known]
    changes = [i for i in range(1, len(kinds)) if kinds[i] is not kinds[i - 1]]
    if not known or len(changes) > 1:
        return Finding(Verdict.UNKNOWN, points)
    if not changes:
        if len(known) < len(points):
            return Finding(Verdict.UNKNOWN, points)
        return Finding(Verdict.HOLDS if kinds[0] is Standing.HOLDS else Verdict.FAILS, points)
    before, after = known[changes[0] - 1], known[changes[0]]
    outside = [one for one in points if one.standing is Standing.OPEN and not before.x < one.x < after.x]
    if outside:
        return Finding(Verdict.UNKNOWN, points)
    verdict = Verdict.BEYOND if after.standing is Standing.HOLDS else Verdict.BELOW
    return Finding(verdict, points, (before.x, after.x))


def _all_zero(values: Mapping[float, Sequence[float]]) -> Verdict:
    if not any(values.values()):
        return Verdict.UNKNOWN
    return Verdict.FAILS if any(any(found) for found in values.values()) else Verdict.HOLDS


def _from_slope(question: Question, cells: Cells, points: tuple[PointFinding, ...]) -> Finding:
    """A slope for each seed that has a value at every point."""
    slopes: list[float] = []
    for seed in sorted({seed for _, _, seed in cells}):
        own = {key: found for key, found in cells.items() if key[2] == seed}
        ys = [list(_values(question, own, point.x)) for point in points]
        if all(ys):
            slopes.append(_slope([point.x for point in points], [found[0] for found in ys]))
    if not slopes:
        return Finding(Verdict.UNKNOWN, points)
    interval = estimate(slopes)
    standing = _standing(question, interval)
    verdict = {Standing.HOLDS: Verdict.HOLDS, Standing.FAILS: Verdict.FAILS, Standing.OPEN: Verdict.UNKNOWN}
    return Finding(verdict[standing], points, slope=interval)


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the straight line through the points, by least squares."""
    return float(np.polyfit(xs, ys, 1)[0])
