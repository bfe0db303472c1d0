"""[links]: delay, jitter, loss, duplication and reordering, in virtual time and on real links."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from guests.report import CONNECTION_LOST
from hypervisor.history import HistoryReader, Returned
from launch.cluster.host_plan import Plugins
from launch.cluster.rounds import plan_hosts
from launch.launches import Verdict, fold
from launch.scenario.load import load_scenario
from launch.simulate.host_run import VirtualResult, run_virtual
from tests.launch.cluster_runs import claimlab, ended, run_until, write_scenario
from tests.launch.held import HELD

BAD = "\n[links]\ndelay = 0.001\njitter = 0.002\nloss = 0.1\nduplicate = 0.1\nreorder = 0.2\n"
SMALLER = HELD.replace('"150MiB"\nat', '"100MiB"\nat')


def simulated(folder: Path, text: str, scheme: str, *sets: str, place: Path | None = None) -> VirtualResult:
    """A run in virtual time."""
    scenario = load_scenario(write_scenario(folder, text), sets).scenario
    return run_virtual(plan_hosts(scenario, Plugins())[0], scheme, folder=place)


def verdicts(result: VirtualResult) -> list[Verdict]:
    """How each launch ended."""
    return [one.verdict for one in fold(result.ordered_at, result.outcomes)]


@pytest.mark.rule("I12")
@pytest.mark.parametrize("scheme", ["naive", "claim", "clamp"])
def test_bad_links_break_nothing(tmp_path: Path, scheme: str) -> None:
    """Lost, doubled and overtaken messages: every invariant holds, and check finds every call done once."""
    host = tmp_path / "host"
    result = simulated(tmp_path, SMALLER + BAD, scheme, place=host)
    assert (result.violations, result.leftovers) == ((), ())
    assert verdicts(result) == [Verdict.BUILT]
    checked = claimlab("check", host, "--json")
    assert checked.returncode == 0, checked.stdout
    (report,) = json.loads(checked.stdout)["hosts"]
    assert report["unrecorded"] == 0
    assert any("10.0% lost" in line and " 0 Calls" not in line for line in result.notes)


def test_a_seed_gives_the_same_bad_links(tmp_path: Path) -> None:
    """What is lost follows from the seed; other seeds lose other messages."""
    first, again, other = (
        simulated(tmp_path, SMALLER + BAD, "claim", f"seed={seed}").journal_digest for seed in (1, 1, 2)
    )
    assert first == again != other


def test_sessions_and_frames_change_nothing(tmp_path: Path) -> None:
    """Frames on links that only take their time give, step for step, the run that has neither."""
    parties = 'links.parties=["guest-1", "guest-2", "toolstack", "launch-1"]'
    plain = simulated(tmp_path, SMALLER, "clamp")
    framed = simulated(tmp_path, SMALLER, "clamp", parties)  # of the usual delay
    said = [[replace(one, secret=b"") for one in result.outcomes] for result in (plain, framed)]
    assert said[0] == said[1] and framed.reports == plain.reports
    assert (framed.steps, framed.host_digest) == (plain.steps, plain.host_digest)


def test_a_slow_link_is_its_partys_alone(tmp_path: Path) -> None:
    """A delay that names a guest does not slow the toolstack down, one that names nobody does."""
    for parties, slow in (('links.parties=["guest-1"]', False), ("links.parties=[]", True)):
        result = simulated(tmp_path, SMALLER, "claim", "links.delay=0.5", parties)
        launches = fold(result.ordered_at, result.outcomes)
        answered = [one.answered_after for one in launches if one.answered_after is not None]
        assert answered
        assert all((after > 1.0) is slow for after in answered)


def test_a_dead_link_ends_its_guest_alone(tmp_path: Path) -> None:
    """A guest whose every call is lost counts its calls as indefinite and ends; the others live on."""
    text = HELD + '\n[links]\nloss = 0.999999\nparties = ["guest-1"]\n'
    result = simulated(tmp_path, text, "claim", place=tmp_path / "host")
    first, second = sorted(result.reports, key=lambda one: one.domid)[:2]
    assert (first.ending, second.ending) == (CONNECTION_LOST, "stopped")
    with (tmp_path / "host" / "guests" / "guest-1-1.history").open("rb") as file:
        returned = [record for record in HistoryReader(file) if isinstance(record, Returned)]
    assert returned[-1].error == ""
    assert claimlab("check", tmp_path / "host").returncode == 0


def test_delay_is_paid_each_way(tmp_path: Path) -> None:
    """A second on the link: the order takes one, a look at the host two, and the answer knows."""
    quick, slow = (
        simulated(tmp_path, SMALLER, "naive", f"links.delay={delay}").outcomes[0].time for delay in (0.0, 1.0)
    )
    assert (quick, slow) == (15.0, pytest.approx(18.0))


def test_bad_links_between_processes(tmp_path: Path) -> None:
    """The same keys on real links: Calls are sent again, none is run twice, and check agrees."""
    run = tmp_path / "run"
    path = write_scenario(tmp_path, SMALLER + BAD)
    # Slow, so that nine copies of a Call are waited for longer than any process is kept from its work.
    pace = ("--set", "speed=3", "--set", "arrivals.at=1", "--set", "toolstack.pages_per_second=30000")
    done = run_until(ended(run, 1), run, path, "--scheme", "claim", "--json", *pace, seconds=6)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["valid"]
    stats = json.loads((run / "claim" / "1" / "host0" / "hypervisor.json").read_text())
    assert stats["repeated"] > 0
    assert claimlab("check", run).returncode == 0
    assert "10.0% lost" in (run / "summary.md").read_text()
