"""The engine of the debate: figures of cells to verdicts, and the experiments as files."""

from __future__ import annotations

from io import StringIO

import msgspec
import pytest
from rich.console import Console

from launch.debate.cells import Cell, cells_of, plan_of, scenario_of
from launch.debate.experiment import (
    Arm,
    Control,
    Experiment,
    Kind,
    Point,
    Premise,
    Question,
    Verdict,
    experiment,
    experiments,
)
from launch.debate.figures import asked
from launch.debate.run import Outcome, Setting
from launch.debate.table import table
from launch.debate.verdict import Cells, Scatter, Standing, find
from launch.errors import UsageError

ALL = experiments()


def example(kind: Kind = Kind.EACH) -> Experiment:
    """Two arms, four points."""
    return Experiment(
        id="H0",
        title="an example",
        by="nobody",
        x="x",
        question=Question(figure="pain", arms=("a", "b"), reason="half", kind=kind, above=0.5),
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
    assert found.points[0].measured is not None and found.points[0].measured.bounds == (2.0, 2.0)


def test_what_does_not_scatter_has_no_interval() -> None:
    """A figure that is the same from all seeds is told as such; as deterministic when their runs are."""
    seeds = range(1, 4)
    still = {(1.0, arm, seed): {"pain": 2.0 if arm == "a" else 0.0} for arm in ("a", "b") for seed in seeds}
    moved: Cells = {key: {**found, "steps": float(key[2])} for key, found in still.items()}
    for cells_found, scatter in ((still, Scatter.DETERMINISTIC), (moved, Scatter.ALIKE)):
        found = find(example(), cells_found)
        (point,) = found.points
        assert point.measured is not None and point.measured.scatter is scatter
        assert point.measured.interval.low is None and point.standing is Standing.HOLDS
        assert found.deterministic is (scatter is Scatter.DETERMINISTIC)
    one = find(example(), {key: found for key, found in still.items() if key[2] == 1})
    assert one.verdict is Verdict.UNKNOWN  # one seed scatters never


def test_a_broken_premise_leaves_the_verdict_unknown() -> None:
    """A run in which the question is another one decides nothing, and is named; a control has no premise."""
    one = msgspec.structs.replace(example(), premise=Premise("b", "pain", 1.0))
    kept = cells(2.0, 2.0, 2.0, 2.0)
    assert find(one, kept).verdict is Verdict.HOLDS
    broken = {**kept, (3, "b", 2): {"pain": 0.5}}
    found = find(one, broken)
    assert found.verdict is Verdict.UNKNOWN and found.why.startswith("at 3 with b, seed 2, pain is 0.5")
    assert find(one, broken, control=True).verdict is Verdict.HOLDS


def test_the_table_fits_eighty_columns() -> None:
    """Nothing is cut off: long claims and figures are folded."""
    outcomes = [Outcome(one, Setting(), find(example(), cells(0.0, 0.5, 2.0, 2.0)), 40) for one in ALL]
    console = Console(width=80, file=StringIO(), record=True)
    console.print(table(outcomes))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80 and not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    assert sum("3: 2 [1.8, 2.2]" in line for line in lines) == len(ALL)


def test_a_figure_that_there_is_none_of_is_an_error() -> None:
    """A name that no run has is refused in one line; a counter of what did not happen is 0."""
    found = {"pain": 1.0, "launches.no_s": None}
    with pytest.raises(UsageError, match=r"launches\.noo_s: no such figure: did you mean launches\.no_s\?"):
        asked(found, "launches.noo_s", "")
    with pytest.raises(UsageError, match="no such figure"):
        asked(found, "pain", "guests.kindness")
    assert asked(found, "refused_while_free.clamp", "pain") == 0.0
    assert asked(found, "launches.no_s", "pain") is None


def test_the_seed_moves_phases_and_arrivals() -> None:
    """Every seed has its own, the same for both arms, and launches come as late as the file allows."""
    plans = [plan_of(cell, scenario_of(cell)) for cell in _cells_of_h1(seeds=2)]
    moments = {(one.repeat, tuple(arrival.t for arrival in one.arrivals)) for one in plans}
    phases = {(one.repeat, tuple(guest.workload for guest in one.guests)) for one in plans}
    assert len(moments) == len(phases) == 2
    wanted = scenario_of(_cells_of_h1(seeds=1)[0]).arrivals.at
    assert isinstance(wanted, tuple)
    for _, found in moments:
        assert all(
            0 <= own - at <= experiment("H1").jitter.arrivals for own, at in zip(found, wanted, strict=True)
        )


def _cells_of_h1(seeds: int) -> list[Cell]:
    cells_found = cells_of(experiment("H1"), quick=True, control=False, delay=0.0, seeds=seeds)
    return [cell for cell in cells_found if cell.x == 1]


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
