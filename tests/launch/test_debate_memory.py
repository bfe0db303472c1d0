"""The experiments on memory itself, H1 to H11: what they are made of, and two of them as a whole."""

from __future__ import annotations

import pytest

from launch.debate.capacity import most_domains
from launch.debate.cells import Cell, run_cell
from launch.debate.experiment import Verdict, experiment
from launch.debate.figures import needs_judge
from launch.debate.run import Setting, hold


def cell(name: str, x: float, arm: str, *, control: bool = False) -> Cell:
    return Cell(experiment(name), x, arm, 1, control, 50e-6)


@pytest.mark.parametrize(
    ("name", "seeds"),
    [("H8", 3), pytest.param("H2", 1, marks=pytest.mark.long)],
)
def test_an_experiment_and_its_control_come_to_different_verdicts(name: str, seeds: int) -> None:
    """The verdict is known, and in the control setting it is the other one that the file declares."""
    found = hold(experiment(name), Setting(quick=True, jobs=1, seeds=seeds)).finding.verdict
    turned = hold(experiment(name), Setting(quick=True, control=True, jobs=1, seeds=seeds)).finding.verdict
    assert found not in (Verdict.UNKNOWN, turned)
    assert turned is experiment(name).control.verdict


def test_a_clamp_takes_a_round_trip_for_each_domain() -> None:
    """Over links of 500 to 600 us the window is 1.1 ms for each of 32 domains, thrice that for the rest."""
    window = run_cell(cell("H3", 32, "slow"))["window_p50_s"]
    assert window == pytest.approx(0.0385, abs=0.0015)


def test_who_all_peak_at_once_gain_nothing_from_claims() -> None:
    """At equal pain claims carry as many domains as static limits, the sum of maxima."""
    static = most_domains(cell("H5", 1, "static"))
    claim = most_domains(cell("H5", 1, "claim"))
    assert static["domains"] == claim["domains"] == 22
    assert static["launches"] == claim["launches"] == 36


def test_a_second_toolstack_has_its_own_parameters() -> None:
    """The clamp's parameters are not given to the toolstack beside it, which only looks at free memory."""
    found = run_cell(cell("H24", 6, "clamp"))
    assert found["launches"] and found["built"]


def test_sums_of_figures_of_the_judge_need_the_judge() -> None:
    """A figure that is added up from others is the judge's when one of them is."""
    assert needs_judge("refused_fitting")
    assert not needs_judge("refaults")
