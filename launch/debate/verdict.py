"""From the figures of every cell to a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isclose
from statistics import linear_regression
from typing import Final

from launch.compare.statistics import Estimate, estimate
from launch.debate.experiment import Experiment, Kind, Premise, Question, Verdict
from launch.debate.figures import Figures, asked

NOISE: Final = 1e-6
"""Relative, for 1 and more: nearer than that is the same figure; they are rounded to a microsecond."""
Cells = Mapping[tuple[float, str, int], Figures]
"""(x, arm, seed) -> figures."""


class Standing(StrEnum):
    """Of the claim at one point."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "open"  # the interval includes the threshold, or there was nothing to measure


class Scatter(StrEnum):
    """Of a figure over the seeds."""

    VARIES = "varies"
    ALIKE = "alike"  # the same figure from every seed, although the seeds' runs were not the same
    DETERMINISTIC = "deterministic"  # every figure of the runs is the same: the seed changes nothing


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure over the seeds."""

    interval: Estimate
    """Without bounds where nothing scatters, or for want of values."""
    scatter: Scatter

    @property
    def bounds(self) -> tuple[float, float] | None:
        """What is held against a threshold; None when there are too few values."""
        low, high, mean = self.interval.low, self.interval.high, self.interval.mean
        if low is not None and high is not None:
            return low, high
        return None if self.scatter is Scatter.VARIES else (mean, mean)


@dataclass(frozen=True, slots=True)
class PointFinding:
    """What one point says."""

    x: float
    measured: Measured | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Finding:
    """What all points together say."""

    verdict: Verdict
    points: tuple[PointFinding, ...]
    boundary: tuple[float, float] | None = None
    """The two points of the sweep between which it changes."""
    slope: Measured | None = None
    why: str = ""
    """Why nothing can be said, where the experiment's premise is not kept."""

    @property
    def deterministic(self) -> bool:
        """No point says anything else with another seed."""
        known = [point.measured for point in self.points if point.measured is not None]
        return bool(known) and all(one.scatter is Scatter.DETERMINISTIC for one in known)


def find(experiment: Experiment, cells: Cells, *, control: bool = False) -> Finding:
    """Answer the experiment's question from its cells, or its control's."""
    broken = None if control else _broken(experiment.premise, cells)
    found = _answer(experiment.question, cells)
    return found if broken is None else replace(found, verdict=Verdict.UNKNOWN, boundary=None, why=broken)


def _broken(premise: Premise | None, cells: Cells) -> str | None:
    """One line about the first run that breaks the premise."""
    if premise is None:
        return None
    name = premise.figure + (f" / {premise.per}" if premise.per else "")
    for (x, arm, seed), found in sorted(cells.items(), key=lambda one: one[0]):
        if arm == premise.arm:
            value = asked(found, premise.figure, premise.per)
            if value is None or not isclose(value, premise.equals, abs_tol=NOISE):
                return f"at {x:g} with {arm}, seed {seed}, {name} is {value}, and must be {premise.equals:g}"
    return None


def _answer(question: Question, cells: Cells) -> Finding:
    xs = sorted({x for x, _, _ in cells})
    values = {x: list(_values(question, cells, x)) for x in xs}
    points = tuple(_point(question, x, values[x], _seed_matters(cells, x)) for x in xs)
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


def _seed_matters(cells: Cells, x: float | None = None) -> bool:
    """True when another seed gives another run, as far as its figures tell; `x` None: at any point."""
    first: dict[tuple[float, str], Figures] = {}
    return any(
        first.setdefault((at, arm), found) != found
        for (at, arm, _), found in cells.items()
        if x is None or at == x
    )


def _point(question: Question, x: float, values: Sequence[float], seed_matters: bool) -> PointFinding:
    if not values:
        return PointFinding(x, None, Standing.OPEN)
    measured = _measured(values, seed_matters)
    return PointFinding(x, measured, _standing(question, measured))


def _measured(values: Sequence[float], seed_matters: bool) -> Measured:
    """At least one value. An interval of no width would say more than is known: there is none then."""
    interval = estimate(values)
    still = interval.low is not None and max(values) - min(values) <= NOISE * max(1.0, abs(interval.mean))
    if not still:
        return Measured(interval, Scatter.VARIES)
    mean = Estimate(interval.mean, None, None, interval.count)
    return Measured(mean, Scatter.ALIKE if seed_matters else Scatter.DETERMINISTIC)


def side(question: Question, measured: Measured | None) -> Standing:
    """Of the threshold, on which the mean lies, however few values there are; open where there are none."""
    if measured is None:
        return Standing.OPEN
    return _within(question, measured.interval.mean, measured.interval.mean)


def _standing(question: Question, measured: Measured) -> Standing:
    bounds = measured.bounds
    return Standing.OPEN if bounds is None else _within(question, *bounds)


def _within(question: Question, low: float, high: float) -> Standing:
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
    slope = _measured(slopes, _seed_matters(cells))
    standing = _standing(question, slope)
    verdict = {Standing.HOLDS: Verdict.HOLDS, Standing.FAILS: Verdict.FAILS, Standing.OPEN: Verdict.UNKNOWN}
    return Finding(verdict[standing], points, slope=slope)


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the straight line through the points, by least squares."""
    return linear_regression(xs, ys).slope
