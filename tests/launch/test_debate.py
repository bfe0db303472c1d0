"""The engine of the debate: figures of cells to verdicts, and the experiments as files."""

from __future__ import annotations

import msgspec
import pytest

from launch.debate.cells import cells_of, scenario_of
from launch.debate.experiment import Arm, Control, Experiment, Kind, Point, Question, Verdict, experiments
from launch.debate.verdict import Cells, find

ALL = experiments()


def example(kind: Kind = Kind.EACH) -> Experiment:
    """Two arms, four points."""
    return Experiment(
        id="H0",
        title="an example",
        by="nobody",
        x="x",
        question=Question(figure="pain", arms=("a", "b"), kind=kind, above=0.5),
        points=tuple(Point(x) for x in (1, 2, 3, 4)),
        control=Control("none", Verdict.FAILS),
        arms={"a": Arm("clamp"), "b": Arm("claim")},
    )


def cells(*means: float) -> Cells:
    """Five seeds at every point; arm a is above arm b by the point's mean, give or take a tenth."""
    return {
        (x, arm, seed): {"pain": 1.0 + (mean + (seed - 3) / 10 if arm == "a" else 0.0)}
        for x, mean in enumerate(means, start=1)
        for arm in ("a", "b")
        for seed in range(1, 6)
    }


@pytest.mark.parametrize(
    ("means", "verdict", "boundary"),
    [
        ((2.0, 2.0, 2.0, 2.0), Verdict.HOLDS, None),
        ((0.0, 0.0, 0.0, 0.0), Verdict.FAILS, None),
        ((0.0, 0.0, 2.0, 2.0), Verdict.BEYOND, (2, 3)),
        ((2.0, 2.0, 0.0, 0.0), Verdict.BELOW, (2, 3)),
        ((0.0, 0.5, 2.0, 2.0), Verdict.BEYOND, (1, 3)),
        ((2.0, 0.0, 2.0, 0.0), Verdict.UNKNOWN, None),
        ((0.5, 2.0, 2.0, 2.0), Verdict.UNKNOWN, None),
    ],
)
def test_points_come_to_a_verdict(
    means: tuple[float, ...], verdict: Verdict, boundary: tuple[float, float] | None
) -> None:
    """One change along the sweep is a boundary, several are no answer, and an open end neither."""
    found = find(example(), cells(*means))
    assert (found.verdict, found.boundary) == (verdict, boundary)


def test_a_slope_is_held_against_the_threshold() -> None:
    """Figures that grow faster than the threshold along the sweep hold, others do not."""
    assert find(example(Kind.GROWS), cells(1, 2, 3, 4)).verdict is Verdict.HOLDS
    assert find(example(Kind.GROWS), cells(1, 1, 1, 1)).verdict is Verdict.FAILS


def test_zero_means_never() -> None:
    """A single value other than 0 in any run refutes a claim of zero."""
    nought = {key: {"pain": 0.0} for key in cells(0, 0, 0, 0)}
    assert find(example(Kind.ZERO), nought).verdict is Verdict.HOLDS
    assert find(example(Kind.ZERO), {**nought, (2.0, "a", 3): {"pain": 1.0}}).verdict is Verdict.FAILS


def test_pairs_share_their_seed() -> None:
    """What varies from seed to seed alike in both arms does not widen the interval of the difference."""
    wild = {key: {"pain": 100.0 * key[2] + (2.0 if key[1] == "a" else 0.0)} for key in cells(0, 0, 0, 0)}
    found = find(example(), wild)
    assert found.verdict is Verdict.HOLDS
    assert found.points[0].interval is not None and found.points[0].interval.low == 2.0


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.id)
def test_every_experiment_can_be_run(one: Experiment) -> None:
    """Its scenarios are valid at every point with every arm, and its control expects another verdict."""
    assert one.control.verdict is not Verdict.UNKNOWN
    assert set(one.question.arms) <= set(one.arms)
    for control in (False, True):
        for cell in cells_of(one, quick=False, control=control, delay=50e-6, seeds=1):
            if not one.measure:
                assert scenario_of(cell).release in one.releases or control
    assert msgspec.json.decode(msgspec.json.encode(one), type=Experiment) == one
