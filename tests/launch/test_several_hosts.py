"""Several hosts: placement, retry elsewhere, a host that is lost, two toolstacks at once, in both worlds."""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hypervisor.public.orders import Stage
from launch.cluster.cluster_plan import ClusterResult, plan_cluster
from launch.cluster.host_plan import Plugins
from launch.compare.cell import Task, run_cell
from launch.compare.variants import Variant
from launch.errors import ScenarioError
from launch.launches import Verdict
from launch.over_hosts import over_hosts
from launch.records import read_orders, read_outcomes
from launch.results import resolved
from launch.scenario.load import load_scenario
from launch.scenario.scenes import host_names, scenes
from launch.simulate.run import check_simulation
from tests.launch.cluster_runs import (
    PATIENCE,
    Done,
    begin,
    claimlab,
    recorded,
    run_until,
    still_there,
    wait_until,
    write_scenario,
)
from tests.launch.two_hosts import TWO, simulated

KILLED = """
[[holds]]
party = "left/toolstack-0"
at = "chunk-populated"
until = "left/guest-1:before-decrease"

[[faults]]
kind = "kill"
party = "left/hypervisor"
at = "left/toolstack-0:chunk-populated"
"""
"""While a launch is being built on the left, which is held there: its guest never gives anything back."""
LISTED = 'policy = "alternates"\nalternates = ["left", "right"]'
SEVERAL = 'schemes = ["claim"]'


def fault(party: str) -> str:
    """A kill at second 1, before the arrivals."""
    return f'[[faults]]\nkind = "kill"\nparty = "{party}"\nat = 1\n[arrivals]'


def tries(result: ClusterResult) -> list[list[tuple[str, Verdict]]]:
    """Where each launch was tried, and how that ended."""
    return [[(one.host, one.launch.verdict) for one in fate.tried] for fate in result.launches]


def by_launch(run: Path) -> dict[int, list[tuple[str, str]]]:
    """Launch -> [(host, last stage)] by order, from the files of a run."""
    found: dict[int, list[tuple[int, str, str]]] = {}
    for host in sorted(run.iterdir()):
        ends = {one.order: one.stage.value for one in read_outcomes(host)}
        for order in read_orders(host):
            launch = (order.order - 1) % 1_000_000 + 1
            found.setdefault(launch, []).append((order.order, host.name, ends[order.order]))
    return {launch: [(host, end) for _, host, end in sorted(all)] for launch, all in sorted(found.items())}


def settled(done: Done) -> bool:
    """All three launches came to an end."""
    told = next(iter(json.loads(done.stdout)["over_hosts"].values()))
    return bool(told["launches"] == 3 and not told["unsettled"])


def test_a_launch_refused_on_one_host_is_built_on_another_in_both_worlds(tmp_path: Path) -> None:
    """Real processes and virtual time agree; every host has its folder, journal, check and judgement."""
    run = tmp_path / "run"
    path = write_scenario(tmp_path, TWO)
    done = run_until(settled, run, path, "--json", "--judge", seconds=16)
    assert done.returncode == 0, done.stderr
    simulated(tmp_path, place=tmp_path / "virtual")
    wanted = {
        1: [("left", "built")],
        2: [("left", "built")],
        3: [("left", "refused"), ("right", "built")],
    }
    assert by_launch(tmp_path / "virtual") == wanted
    assert sorted(by_launch(run / "claim" / "1").values()) == sorted(wanted.values())
    told: dict[str, Any] = json.loads(done.stdout)["over_hosts"]["claim"]
    assert (told["launches"], told["running"], told["given_up"], told["unsettled"]) == (3, 3, 0, 0)
    assert told["attempts_per_launch"] == pytest.approx(4 / 3, abs=1e-6)
    lasted = json.loads((run / "scenario.json").read_text(encoding="utf-8"))["duration"]
    assert 0 < told["time_to_running_p50_s"] <= told["time_to_running_p99_s"] < lasted
    assert {name: (one["orders"], one["built"]) for name, one in told["hosts"].items()} == {
        "left": (3, 2),
        "right": (1, 1),
    }
    roles = {entry["role"] for entry in recorded(run)}
    assert {"left/hypervisor", "right/hypervisor", "left/toolstack-0", "right/toolstack-0"} <= roles
    checked = claimlab("check", run)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "claim/1/left" in checked.stdout and "claim/1/right" in checked.stdout
    judged = json.loads((run / "judge.json").read_text())
    assert sum(len(host["launches"]) for host in judged["hosts"]) == 4
    assert not still_there(run)


def test_a_host_that_is_lost_leaves_the_other_going(tmp_path: Path) -> None:
    """kill -9 of one hypervisor: what was under way there is built elsewhere, and the run is invalid."""
    text = TWO + KILLED
    run = tmp_path / "run"
    done = run_until(settled, run, write_scenario(tmp_path, text), "--json", seconds=16)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert not told["valid"] and told["over_hosts"]["claim"]["hosts"]["right"]["built"] == 2
    lines = (run / "summary.md").read_text().splitlines()
    (violation,) = [line for line in lines if line.startswith("- violation")]
    assert "claim: left: the run ended early: hypervisor" in violation and "signal 9" in violation
    assert not still_there(run)
    checked = json.loads(claimlab("check", run, "--json").stdout)
    verdicts = {host["path"]: host["verdict"] for host in checked["hosts"]}
    assert verdicts["claim/1/right"] == "valid"
    virtual = simulated(tmp_path, text=text)
    assert [one for host in virtual.each() for one in host.violations] == [
        "left: the run ended early: the hypervisor was killed"
    ]
    assert virtual.hosts["right"].violations == ()
    assert sum(fate.running is not None for fate in virtual.launches) == 2
    assert {fate.tried[-1].host for fate in virtual.launches if fate.running is not None} == {"right"}


def test_interrupted_runs_of_several_hosts_leave_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C stops the processes of every host, those that ask for free memory included."""
    text = TWO.replace(LISTED, 'policy = "most-free"').replace("duration = 16", "duration = 100000")
    run = tmp_path / "run"
    started = begin("run", write_scenario(tmp_path, text), "--out", run)
    wait_until((run / "claim" / "1" / "right" / "outcomes.jsonl").exists)
    roles = {entry["role"] for entry in recorded(run)}
    assert {"left/sampler", "right/sampler", "right/hypervisor"} <= roles
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=PATIENCE)
    assert started.returncode == 128 + signal.SIGINT and "Traceback" not in errors
    assert not still_there(run)


def test_two_toolstacks_at_once_take_turns(tmp_path: Path) -> None:
    """Of "claim+clamp" the first order goes to claim, the second to clamp, on the same host."""
    text = TWO.replace(SEVERAL, 'schemes = ["claim+clamp"]').replace("at = [1, 1.5, 2]", "at = [1, 1.5]")
    run = tmp_path / "run"

    def both(_done: Done) -> bool:
        return [one.stage for one in read_outcomes(run / "claim+clamp" / "1" / "left")].count(
            Stage.BUILT
        ) == 2

    done = run_until(both, run, write_scenario(tmp_path, text), "--json", seconds=16)
    assert done.returncode == 0, done.stderr
    simulated(tmp_path, text=text, place=tmp_path / "virtual")
    for folder in (run / "claim+clamp" / "1", tmp_path / "virtual"):
        outcomes = read_outcomes(folder / "left")
        calls = {one.order: one.admission_hypercalls for one in outcomes if one.stage == "built"}
        assert calls[1] < calls[2], "a clamp takes more hypercalls than a claim"
        assert (folder / "left" / "toolstack-1.history").exists()
        assert by_launch(folder) == {1: [("left", "built")], 2: [("left", "built")]}


def test_a_late_failure_is_tried_elsewhere_too(tmp_path: Path) -> None:
    """naive admits what does not fit; what failed late on the left is built on the right."""
    text = TWO.replace(SEVERAL, 'schemes = ["naive"]').replace("at = [1, 1.5, 2]", "at = [1, 1, 1]")
    result = simulated(tmp_path, text=text)
    found = tries(result)
    assert all(one[-1][1] is Verdict.BUILT for one in found)
    failed = [one for launch in found for one in launch if one[1] is Verdict.FAILED_LATE]
    assert failed and {host for host, _ in failed} == {"left"}
    figures = over_hosts([result.launches], ("left", "right"))
    assert figures.pages_discarded > 0 and figures.hosts["left"].most_at_once == 3


def test_attempts_are_bounded(tmp_path: Path) -> None:
    """A launch that fits nowhere is given up after the last attempt, each wait twice the one before."""
    result = simulated(tmp_path, "arrivals.size=180MiB", "placement.attempts=4", "placement.wait=0.5")
    tried = [fate.tried for fate in result.launches if fate.given_up]
    assert tried and all([one.host for one in launch] == ["left", "right"] * 2 for launch in tried)
    for launch in tried:
        gaps = [after.start - before.end for before, after in pairwise(launch)]
        assert gaps == pytest.approx([0.5, 1.0, 2.0], abs=0.01)


def test_most_free_sends_a_burst_to_the_same_host(tmp_path: Path) -> None:
    """Until the hosts are asked again everybody sees the same best host: the herd."""
    sets = ("hosts.1.memory=300MiB", "placement.alternates=[]", "arrivals.at=[1.1, 1.2, 1.3]")
    herd = simulated(tmp_path, *sets, "placement.policy=most-free")
    assert [one[0][0] for one in tries(herd)] == ["right"] * 3
    fresh = simulated(tmp_path, *sets, "placement.policy=most-free", "placement.sample=0.05")
    assert [one[0][0] for one in tries(fresh)] == ["right", "left", "right"]


def test_a_seed_gives_the_same_run_over_all_hosts(tmp_path: Path) -> None:
    """Hosts, waits and orders of a random policy come out the same a second time, with another seed not."""
    text = TWO.replace(LISTED, 'policy = "random"')
    text = text.replace("jitter = 0", "jitter = 2")
    once, again = (simulated(tmp_path, text=text) for _ in range(2))
    assert once.launches == again.launches
    others = [simulated(tmp_path, f"seed={seed}", text=text).launches for seed in (2, 3, 4)]
    assert any(other != once.launches for other in others)


def test_holds_and_faults_name_their_host(tmp_path: Path) -> None:
    """A guest of one host is paused, and its namesake on the other goes on."""
    text = TWO + '\n[[faults]]\nkind = "kill"\nparty = "right/guest-1"\nat = 3\n'
    result = simulated(tmp_path, text=text)
    lines = [line for host in result.each() for line in host.notes if line.partition(": ")[2]]
    assert [line for line in lines if "guest-1 killed" in line] == ["right: fault: guest-1 killed at 3.000 s"]
    endings = {name: [one.ending for one in host.reports] for name, host in result.hosts.items()}
    assert "stopped" in endings["left"][0] and endings["right"][0] != "stopped"


def test_tables_are_laid_over_the_defaults_and_counted(tmp_path: Path) -> None:
    """Hosts alike are numbered, what a table leaves out is the default's, and each has streams of its own."""
    text = TWO.replace('name = "left"', 'name = "left"\ncount = 2\nmemory = "320MiB"')
    text = text.replace('alternates = ["left", "right"]', 'alternates = ["left1", "right"]')
    loaded = load_scenario(write_scenario(tmp_path, text))
    assert host_names(loaded.scenario) == ("left1", "left2", "right")
    parts = scenes(loaded.scenario)
    assert [one.host.memory >> 8 for one in parts] == [320, 320, 256]
    assert [one.guests.count for one in parts] == [1, 1, 2]
    assert {one.guests.memory for one in parts} == {1024}
    plan = plan_cluster(loaded.scenario, 1, Plugins())
    assert len({guest.seed for host in plan.hosts for guest in host.guests}) == 4
    (tmp_path / "again.json").write_text(resolved(loaded))
    again = load_scenario(tmp_path / "again.json")
    assert scenes(again.scenario) == parts and resolved(again) == resolved(loaded)


@pytest.mark.parametrize(
    ("old", "new", "place", "cure"),
    [
        ('name = "right"', 'name = "left"', "small.toml:21: hosts.1.name", 'two hosts are called "left"'),
        ('policy = "alternates"', 'policy = "best"', "placement.policy", "'most-free'"),
        ('["left", "right"]', '["left", "rihgt"]', "placement.alternates", "did you mean 'right'?"),
        ('["left", "right"]', "[]", "placement.alternates", 'add alternates = ["left", "right"]'),
        ('policy = "alternates"', 'policy = "random"', "placement.alternates", 'set policy = "alternates"'),
        ("count = 2", "cuont = 2", "hosts.1.guests.cuont", "did you mean hosts.1.guests.count?"),
        ("count = 2", 'memory = "1GiB"', "hosts.1.guests.memory", "right: 1 guests of 1GiB"),
        ('size = "80MiB"', 'size = "250MiB"', "arrivals.size", "would not fit on an empty host"),
        (SEVERAL, 'schemes = ["claim+nonsense"]', "schemes", 'no scheme "nonsense"'),
        (SEVERAL, 'schemes = ["claim+claim"]', "schemes", '"claim" twice'),
        ("[arrivals]", fault("guest-1"), "faults.0.party", 'write "left/guest-1"'),
        ("[arrivals]", fault("up/guest-1"), "faults.0.party", "name one of left, right"),
        ("[arrivals]", fault("left/guest-2"), "faults.0.party", "no guest-2"),
    ],
)
def test_bad_input_is_one_line_with_the_cure(
    tmp_path: Path, old: str, new: str, place: str, cure: str
) -> None:
    """What is wrong with several hosts is said with its place and its cure, once."""
    assert old in TWO
    with pytest.raises(ScenarioError) as error:
        check_simulation(load_scenario(write_scenario(tmp_path, TWO.replace(old, new, 1))))
    (line,) = error.value.lines
    assert place in line and cure in line


def test_one_host_has_no_placement(tmp_path: Path) -> None:
    """[placement] without a choice, and a host's name where there is one host, are refused."""
    text = TWO[: TWO.index("[[hosts]]")] + TWO[TWO.index("[arrivals]") :]
    for more, cure in (
        ("[placement]\nattempts = 2\n", "add [[hosts]]"),
        ('[[faults]]\nkind = "kill"\nparty = "left/guest-1"\nat = 1\n', 'write "guest-1"'),
    ):
        with pytest.raises(ScenarioError) as error:
            load_scenario(write_scenario(tmp_path, text + more))
        assert cure in str(error.value)


def test_several_hosts_can_be_compared(tmp_path: Path) -> None:
    """A cell has the launches' figures over all hosts beside those of the orders and of the judge."""
    loaded = load_scenario(write_scenario(tmp_path, TWO))
    cell = run_cell(Task(tmp_path / "c", Variant("claim", (), loaded), 1, real=False))
    names = ("over_hosts.launches", "over_hosts.running", "launches", "judged")
    assert [cell.figures[name] for name in names] == [3, 3, 4, 4]
    assert cell.figures["over_hosts.hosts.right.built"] == 1 and cell.violations == ()
