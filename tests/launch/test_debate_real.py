"""Real processes asked the questions of the debate."""

from __future__ import annotations

import msgspec
from typer.testing import CliRunner

from launch.cli import app
from launch.debate.cells import Cell
from launch.debate.confirm import Confirmation, Confirmed, run_real
from launch.debate.experiment import Point, Real, Verdict, experiment
from launch.debate.figures import Figures
from launch.debate.run import Outcome, Setting
from launch.debate.verdict import Finding
from tests.launch.cluster_runs import longer


def test_processes_answer_in_the_same_figures() -> None:
    """A run with processes gives the question's figure, and a line when it cannot be trusted."""

    def attempt(times: int) -> tuple[Figures | None, str]:
        sets = ("speed=20", f"duration={20 * times}", "arrivals.count=2")
        real = Real(points=(Point(0.5),), set=sets, scale=1e-9)
        one = msgspec.structs.replace(experiment("H17"), real=real)
        return run_real(Cell(one, 0.5, "mediated", 1, control=False, delay=0.0, real=True), real)

    found, complaint = longer(attempt, lambda one: one[0] is None or one[0]["populate.p50_ms"] is not None)
    assert found is not None, complaint
    median = found["populate.p50_ms"]
    assert median is not None and median > 1  # two links of half a millisecond
    assert "too loaded for the timings to be trusted" in complaint


def test_a_refused_confirmation_leaves_the_verdict_unknown() -> None:
    """What the machine was too loaded to confirm is not known, nor what it contradicts."""
    finding = Finding(Verdict.HOLDS, ())
    for confirmed, verdict in (
        (Confirmed.YES, Verdict.HOLDS),
        (Confirmed.NO, Verdict.UNKNOWN),
        (Confirmed.REFUSED, Verdict.UNKNOWN),
    ):
        told = Confirmation(confirmed, finding, "why")
        assert Outcome(experiment("H12"), Setting(), finding, 1, told).verdict is verdict


def test_the_delay_can_be_given() -> None:
    """--delay is used as it is, and the document says that it was not measured."""
    ran = CliRunner().invoke(
        app, ["debate", "H14b", "--delay", "0.001", "--seeds", "3", "--quick", "--jobs", "1", "--json"]
    )
    document = msgspec.json.decode(ran.stdout)
    assert ran.exit_code == 0
    assert document["links"] == {"delay_s": 0.001, "measured": False}
    assert document["verdicts"][0]["verdict"] == "holds"
