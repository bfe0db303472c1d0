"""Many guests on one machine: what they take is known beforehand, and a process may carry many."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from guests.process import read_reports
from guests.report import GuestReport
from hypervisor.history import HistoryReader, HistoryWriter, Invoked
from launch.cluster.run import check_run
from launch.errors import ScenarioError, UsageError
from launch.scenario.limits import DESCRIPTORS_PER_PROCESS, KIB_PER_PROCESS, Needs, ensure_limits, needs
from launch.scenario.load import load_scenario
from launch.service import MANY, latencies, service
from tests.launch.cluster_runs import Done, claimlab, recorded, run_until

CROWDED = """
name = "crowded"
speed = 5
duration = 15
schemes = ["claim"]

[host]
memory = "128MiB"
dom0 = "16MiB"
xen = "16MiB"

[guests]
count = 20
per_process = 10
kind = "pv"
memory = "2MiB"
max = "3MiB"
headroom = 1.05
swap = "2MiB"
workload = [{ kind = "sine", mean = "1856KiB", amplitude = "64KiB", period = 10 }]

[arrivals]
count = 1
size = "8MiB"
at = 2

[toolstack]
builder = "pv-4.17"
"""
GIB_OF_A_MACHINE = 24


def test_twenty_guests_in_two_processes_are_twenty_guests(tmp_path: Path) -> None:
    """Each has its own domain, secret, report and calls in the history; the books of the run balance."""
    path, run = tmp_path / "crowded.toml", tmp_path / "run"
    path.write_text(CROWDED, encoding="utf-8")
    guests = run / "claim" / "1" / "host0" / "guests"

    def lived(_done: Done) -> bool:
        reports = read_reports(guests)
        moved = [one for one in reports if one.hypercalls and one.highest_pages > one.lowest_pages]
        callers = set[tuple[int, int]]().union(*map(_callers, guests.glob("*.history")))
        return len(moved) >= 20 and len(reports) == len(callers) == 21

    done = run_until(lived, run, path, "--no-judge", "--no-report", seconds=15)
    assert done.returncode == 0, done.stderr
    carriers = [entry for entry in recorded(run) if entry["role"].startswith("guest-")]
    reports = read_reports(guests)
    assert (len(carriers), len(reports)) == (3, 21)  # the launch is a guest with a process of its own
    assert all(one.hypercalls and one.highest_pages > one.lowest_pages for one in reports[:20])
    callers = [_callers(file) for file in sorted(guests.glob("*.history"))]
    assert sorted(map(len, callers)) == [1, 10, 10]
    assert len(set.union(*callers)) == 21
    checked = claimlab("check", run)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 of callers without a history" in checked.stdout


def _callers(history: Path) -> set[tuple[int, int]]:
    with history.open("rb") as file:
        return {(one.domid, one.incarnation) for one in HistoryReader(file) if isinstance(one, Invoked)}


@pytest.mark.parametrize("kind", ["kill", "pause", "restart"])
def test_a_fault_of_one_guest_of_a_shared_process_is_refused(kind: str) -> None:
    """A signal would hit its neighbours: the key and three cures are named before anything starts."""
    faults = f'faults=[{{kind="{kind}", party="guest-3", at=5}}]'
    with pytest.raises(ScenarioError, match=r"faults.*would hit every guest.*per_process = 1.*simulate"):
        check_run(load_scenario("ten-thousand", [faults]))
    check_run(load_scenario("default", [faults]))


def test_what_a_thousand_guests_take_is_known_beforehand() -> None:
    """The estimate counts processes, not guests, and fits the machine that the scenario is for."""
    thousand = needs(load_scenario("thousand").scenario, launches=8)
    assert (thousand.processes, thousand.guests) == (1010, 1008)
    assert 1000 * KIB_PER_PROCESS < thousand.memory_kib < GIB_OF_A_MACHINE << 19
    assert thousand.told().startswith("; 1,010 processes in about 9.")
    ten = needs(load_scenario("ten-thousand").scenario, launches=8)
    assert ten.processes == 110 and ten.memory_kib < thousand.memory_kib
    assert needs(load_scenario("default").scenario, launches=6).told() == ""


def test_the_thousand_end_before_they_begin_where_descriptors_are_few() -> None:
    """More processes than the hard limit carries are refused in one line with the command to run."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this machine sets no limit on file descriptors, so none can be too low")
    with pytest.raises(UsageError, match=r"^too few file descriptors[^\n]*`ulimit -n \d+`[^\n]*per_process$"):
        ensure_limits(Needs(hard, hard))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_the_soft_limit_is_raised_when_it_is_too_low() -> None:
    """A soft limit below what the processes need is raised as far as they need, the hard one stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (130, hard))
        ensure_limits(Needs(30, 30))
        raised, still = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert raised >= DESCRIPTORS_PER_PROCESS * 30 and still == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_guests_that_no_memory_holds_are_refused() -> None:
    """An estimate above what the machine has names the two keys that lower it."""
    with pytest.raises(UsageError, match=r"^too little memory: [^\n]*guests.count[^\n]*guests.per_process$"):
        ensure_limits(Needs(processes=1, guests=1 << 40))


def report(hypercalls: int, ended: float = 60.0) -> GuestReport:
    """A guest that made so many in a minute."""
    fields = {name: 0 for name in GuestReport.__struct_fields__}
    texts = {"kind": "pv", "behaviour": "ideal", "ending": "stopped"}
    return GuestReport(**{**fields, **texts, "hypercalls": hypercalls, "ended_s": ended})


def test_fairness_is_the_slowest_tenth_beside_the_median() -> None:
    """Rates, not counts; a guest that came late is left out, and so are runs of few guests."""
    fast, slow = [report(120)] * (MANY - MANY // 10), [report(30)] * (MANY // 10)
    served = service([*fast, *slow, report(0, ended=20.0)])
    assert served is not None
    assert (served.guests, served.reported) == (MANY, MANY + 1)
    assert (served.median, served.slowest, served.fairness) == (2.0, 0.5, 0.25)
    assert served.told().startswith(f"{MANY} of {MANY + 1} guests lived through it: 2 hypercalls")
    assert service(fast) is None


def test_latencies_come_from_both_ends_of_a_call(tmp_path: Path) -> None:
    """Every answered call of a history counts, an unanswered one does not."""
    times = iter((1_000_000, 3_000_000, 4_000_000, 9_000_000))
    history = HistoryWriter((tmp_path / "one.history").open("xb"), {"pid": 1}, lambda: next(times))
    history.invoked(0, 7, 1, ())
    history.returned(0, 7, 1, ())
    history.invoked(0, 7, 2, ())
    history.close()
    assert list(latencies(tmp_path / "one.history")) == [0.002]
