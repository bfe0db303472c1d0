"""The experiments of the debate: each is decided, and its control setting turns it round."""

from __future__ import annotations

import pytest

from launch.debate.experiment import Verdict, experiment, experiments
from launch.debate.run import Setting, hold

CHEAP = ("H12", "H14b")


def verdict(name: str, *, control: bool) -> Verdict:
    """In the quick setting."""
    return hold(experiment(name), Setting(quick=True, control=control, jobs=1)).finding.verdict


def holds_and_flips(name: str) -> None:
    """Decided, and its control comes out as the file says."""
    found = verdict(name, control=False)
    assert found not in (Verdict.UNKNOWN, experiment(name).control.verdict)
    assert verdict(name, control=True) is experiment(name).control.verdict


@pytest.mark.parametrize("name", CHEAP)
def test_cheap_experiments_decide_and_their_controls_flip(name: str) -> None:
    """A verdict is known, and the control setting's is the other one that the file declares."""
    holds_and_flips(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [one.id for one in experiments() if one.id not in CHEAP])
def test_every_experiment_decides_and_its_control_flips(name: str) -> None:
    """A verdict is known, and the control setting's is the other one that the file declares."""
    holds_and_flips(name)
