"""`claimlab simulate`: whole scenarios in virtual time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hypervisor.public.errors import Errno
from launch.cluster.host_plan import Plugins
from launch.cluster.rounds import plan_hosts
from launch.launches import Verdict, fold
from launch.scenario.load import load_scenario
from launch.simulate.host_run import VirtualResult, run_virtual
from launch.simulate.links import Links
from tests.launch.cluster_runs import SMALL, claimlab, write_scenario
from toolstack.interface import Launch, Scheme

CALM = SMALL.replace('amplitude = "4MiB", period = 20', 'amplitude = "512KiB", period = 60')
"""Few pages move, so that it takes little."""
LONGER = CALM.replace("duration = 30", "duration = 120")
LIVES = """
import sys
from launch.cluster.host_plan import Plugins
from launch.cluster.rounds import plan_hosts
from launch.scenario.load import load_scenario
from launch.simulate.host_run import run_virtual

plan = plan_hosts(load_scenario(sys.argv[1], seed=int(sys.argv[2])).scenario, Plugins())[0]
for scheme in ("naive", "claim", "clamp"):
    result = run_virtual(plan, scheme)
    print(scheme, result.host_digest, result.journal_digest)
"""


def simulated(folder: Path, scheme: str, *sets: str, text: str = LONGER, **more: Plugins) -> VirtualResult:
    """One scheme of a scenario, and its evidence in memory."""
    scenario = load_scenario(write_scenario(folder, text), sets).scenario
    plan = plan_hosts(scenario, more.get("plugins", Plugins()))[0]
    return run_virtual(plan, scheme, Links(delay=0.001))


def verdicts(result: VirtualResult) -> list[Verdict]:
    """How each launch ended."""
    return [one.verdict for one in fold(result.ordered_at, result.outcomes)]


@pytest.mark.rule("A29", "A30")
def test_guests_that_are_there_may_be_populated_on_demand(tmp_path: Path) -> None:
    """With guests.on_demand they hold their memory at once, have entries up to max, and stay alive."""
    sets = ("guests.on_demand=true", "guests.max=128MiB", "arrivals.count=0", "duration=10")
    result = simulated(tmp_path, "claim", *sets)
    assert result.violations == ()
    assert result.crashed == 0
    assert result.growth["populate on demand"] > 0
    assert {report.ending for report in result.reports} == {"stopped"}


@pytest.mark.rule("H12", "I10")
def test_three_schemes_on_the_same_burst(tmp_path: Path) -> None:
    """As with processes, naive fails late what it admitted, claim and clamp refuse at once."""
    naive, claim, clamp = (simulated(tmp_path, name) for name in ("naive", "claim", "clamp"))
    assert verdicts(naive).count(Verdict.FAILED_LATE) == 2
    assert verdicts(claim).count(Verdict.REFUSED) == verdicts(clamp).count(Verdict.REFUSED) == 2
    assert verdicts(claim).count(Verdict.BUILT) == verdicts(clamp).count(Verdict.BUILT) == 2
    for result in (naive, claim, clamp):
        assert (result.violations, result.leftovers, result.notes) == ((), (), [])
        assert len(result.reports) == 4 + 2
        assert all(report.ending == "stopped" and report.hypercalls for report in result.reports)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_gives_the_same_run_under_another_hash_seed(tmp_path: Path, seed: int) -> None:
    """Each seed run twice, in processes with different PYTHONHASHSEED: host and journal are the same."""
    path = write_scenario(tmp_path, CALM)
    runs = [
        subprocess.run(
            [sys.executable, "-c", LIVES, str(path), str(seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "4242")
    ]
    assert runs[0] == runs[1]
    assert len({line.split()[2] for line in runs[0].splitlines()}) == 3


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    """The digests tell runs apart."""
    first, second = (simulated(tmp_path, "claim", f"seed={seed}") for seed in (1, 2))
    assert first.journal_digest != second.journal_digest


def test_check_proves_a_virtual_run(tmp_path: Path) -> None:
    """`claimlab check` replays what `claimlab simulate --out` left; every caller has a history there."""
    run = tmp_path / "run"
    done = claimlab("simulate", write_scenario(tmp_path, CALM), "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((run / "summary.json").read_text())
    checked = claimlab("check", run, "--json", "--jobs", 1)
    assert checked.returncode == 0, checked.stdout
    hosts = json.loads(checked.stdout)["hosts"]
    assert len(hosts) == 3 and all(host["unrecorded"] == host["indefinite"] == 0 for host in hosts)


def test_a_folder_holds_what_memory_does(tmp_path: Path) -> None:
    """The files written are those handed over in memory, named as in a real run's folder."""
    plan = plan_hosts(load_scenario(write_scenario(tmp_path, CALM)).scenario, Plugins())[0]
    folder = tmp_path / "host"
    result = run_virtual(plan, "claim", folder=folder)
    assert result.evidence is not None
    files = result.evidence.files()
    assert {"journal.msgpack", "outcomes.jsonl", "hypervisor.json", "toolstack-0.history"} <= set(files)
    assert {"launcher-1.history", "guests/guest-1-1.history", "guests/guest-1-1.json"} <= set(files)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == set(files)
    assert all((folder / name).read_bytes() == content for name, content in files.items())


def test_evidence_changes_nothing(tmp_path: Path) -> None:
    """A run without journal and histories comes out as the one with them."""
    plan = plan_hosts(load_scenario(write_scenario(tmp_path, CALM)).scenario, Plugins())[0]
    kept, bare = run_virtual(plan, "naive"), run_virtual(plan, "naive", evidence=False)
    assert bare.evidence is None and bare.journal_digest == ""
    assert (bare.outcomes, bare.reports) == (kept.outcomes, kept.reports)
    assert (bare.host_digest, bare.steps) == (kept.host_digest, kept.steps)


def test_lifetimes_end_in_virtual_time(tmp_path: Path) -> None:
    """A launched domain is destroyed when its lifetime is over, and its guest has stopped before."""
    result = simulated(tmp_path, "claim", "arrivals.lifetime=30")
    assert [str(one.stage) for one in result.outcomes].count("destroyed") == 2
    built = [one for one in result.reports if one.started_s > 0]
    assert len(built) == 2 and all(one.ended_s - one.started_s <= 30.1 for one in built)


class Falls(Scheme):
    """Its own task dies in the middle of an admission."""

    async def admit_before_create(self, launch: Launch) -> bool:
        """Spawn what nobody awaits."""

        async def fall() -> None:
            raise OSError(Errno.EINVAL, "on my own account")

        launch.world.spawn(fall(), "fall")
        await launch.world.sleep(1.0)
        return True


def test_a_toolstack_that_dies_is_named(tmp_path: Path) -> None:
    """What a plug-in's task raises ends its toolstack alone; later orders find nobody."""
    result = simulated(tmp_path, "falls", 'schemes=["falls"]', plugins=Plugins({"falls": Falls}))
    assert any("toolstack-0 ended: OSError" in line for line in result.notes)
    assert any("no toolstack is left" in line for line in result.notes)
    assert set(verdicts(result)) == {Verdict.UNANSWERED}
    assert all(report.ending == "stopped" for report in result.reports)


def test_foreign_toolstacks_stay_out(tmp_path: Path) -> None:
    """A toolstack in another process has no place in virtual time; one line says what to do."""
    done = claimlab("simulate", write_scenario(tmp_path), "--scheme", "foreign")
    assert done.returncode == 2
    assert "use claimlab run" in done.stderr and "Traceback" not in done.stderr


def test_without_out_nothing_is_left(tmp_path: Path) -> None:
    """The table is all that `claimlab simulate` leaves, unless told where evidence goes."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    path = write_scenario(tmp_path, CALM)
    done = claimlab("simulate", path, "--scheme", "claim", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "virtual time" in done.stdout
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_journal_cut_short_is_not_judged(tmp_path: Path) -> None:
    """When a toolstack was told of commits that the journal does not have, nobody is judged by the rest."""
    scenario = load_scenario(write_scenario(tmp_path, CALM)).scenario
    folder = tmp_path / "run" / "claim" / "1" / "host0"
    folder.mkdir(parents=True)
    run_virtual(plan_hosts(scenario, Plugins())[0], "claim", folder=folder)
    whole = claimlab("judge", tmp_path / "run")
    assert whole.returncode == 0, whole.stderr
    journal = folder / "journal.msgpack"
    os.truncate(journal, journal.stat().st_size // 2)
    done = claimlab("judge", tmp_path / "run")
    assert done.returncode == 2
    assert "the journal ends at commit" in done.stderr
    assert "claimlab check says more" in done.stderr
