"""The storm of dynamic allocations, small: with real processes, and in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypervisor.core.sources import Reason, Source
from launch.cluster.host_plan import Plugins
from launch.cluster.rounds import plan_hosts
from launch.errors import ScenarioError
from launch.scenario.load import load_scenario
from launch.simulate.host_run import VirtualResult, run_virtual
from tests.launch.cluster_runs import Done, claimlab, run_until, summary

SMALL = """
name = "small-storm"
release = "4.12"
speed = 6
duration = 24
schemes = ["claim", "clamp"]

[host]
memory = "256MiB"
dom0 = "16MiB"
xen = "16MiB"
tmem = true

[guests]
count = 4
memory = "24MiB"
max = "30MiB"
per_process = 2
batch = 16
swap = "32MiB"
selfballoon = true
selfballoon_min_usable = "2MiB"
frontswap = true
files = "8MiB"
files_rate = 100
files_truncate = 5
cleancache = true
workload = [{ kind = "square", low = "6MiB", high = "27MiB", period = 12, phase = 0.5 }]

[arrivals]
kind = "burst"
count = 2
size = "40MiB"
at = 2
spread = 1

[toolstack]
parallel = 2
builder = "hvm-4.17"
pages_per_second = 1500
"""
"""Four guests of 24 MiB that surge to 27 between seconds 6 and 12; 80 MiB or more are launched meanwhile."""
TIGHT = "arrivals.size=56MiB"
"""Both builds fit, and then there is next to nothing left."""


def small(folder: Path) -> Path:
    """The scenario as a file."""
    path = folder / "small-storm.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_real_processes_allocate_from_every_source_and_every_page_comes_back(tmp_path: Path) -> None:
    """Ballooning, both kinds of puts and copies on write show in the summary; the run proves valid."""
    run = tmp_path / "storm"
    words = ("scheme.clamp.tmem=freeze", "speed=2", "guests.shared=0.4", "guests.shared_writes=60")
    sets = [part for word in words for part in ("--set", word)]
    sources = (Source.POPULATE, Source.TMEM_EPHEMERAL, Source.TMEM_PERSISTENT, Source.UNSHARE)

    def everybody_grew(_done: Done) -> bool:
        growth = summary(run)["schemes"]["clamp"]["memory"]["growth"]
        return all(growth.get(source) for source in sources)

    # No put is taken while a launch is under way, and how long that is is the machine's affair.
    done = run_until(everybody_grew, run, small(tmp_path), "--scheme", "clamp", *sets, seconds=18)
    assert done.returncode == 0, done.stderr
    memory = summary(run)["schemes"]["clamp"]["memory"]
    for source in sources:
        assert memory["growth"][source] > 0
    assert memory["paging"]["cleancache_puts"] > 0
    assert f"tot_pages grown: {Source.TMEM_PERSISTENT}" in (run / "summary.md").read_text(encoding="utf-8")
    checked = claimlab("check", run)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def storm(folder: Path, scheme: str, *sets: str) -> VirtualResult:
    """The small storm in virtual time; what must hold of every one."""
    plan = plan_hosts(load_scenario(small(folder), sets).scenario, Plugins())[0]
    result = run_virtual(plan, scheme, evidence=False)
    assert (result.violations, result.leftovers, result.notes) == ((), (), [])
    return result


def reasons(result: VirtualResult, source: Source) -> set[str]:
    """Why that source was refused."""
    return {one.reason for one in result.refused if one.source == source}


@pytest.mark.rule("G18", "T14")
def test_a_clamp_that_freezes_sends_the_guests_to_their_disks(tmp_path: Path) -> None:
    """While a launch is under way puts are refused as frozen; nothing is swapped to disk otherwise."""
    frozen = storm(tmp_path, "clamp", "scheme.clamp.tmem=freeze")
    for source in (Source.TMEM_PERSISTENT, Source.TMEM_EPHEMERAL):
        assert Reason.FROZEN in reasons(frozen, source)
    assert sum(one.disk_swap_out for one in frozen.reports) > 0
    assert sum(one.disk_swap_out for one in storm(tmp_path, "claim").reports) == 0


@pytest.mark.rule("C17", "A25", "T20", "T22")
def test_on_a_full_host_every_source_is_refused_for_its_own_reasons(tmp_path: Path) -> None:
    """Under claim the guests meet the claim and then the end of memory, a builder a lack of chunks."""
    full = storm(tmp_path, "claim", TIGHT)
    for source in (Source.POPULATE, Source.TMEM_PERSISTENT, Source.TMEM_EPHEMERAL):
        assert reasons(full, source) == {Reason.CLAIM, Reason.EMPTY}
    assert reasons(full, Source.BUILD) == {Reason.FRAGMENTATION}


@pytest.mark.rule("A12", "G17")
def test_a_clamp_without_tmem_controls_refuses_the_stores_at_max_pages(tmp_path: Path) -> None:
    """A lowered max_pages reaches frontswap too, and never those pages that are in no tot_pages."""
    clamped = storm(tmp_path, "clamp", TIGHT)
    assert Reason.MAX_PAGES in reasons(clamped, Source.TMEM_PERSISTENT)
    assert Reason.MAX_PAGES not in reasons(clamped, Source.TMEM_EPHEMERAL)


def test_the_built_in_storm_is_a_storm() -> None:
    """60 guests on one host of a release with tmem, with every source of dynamic allocation switched on."""
    scenario = load_scenario("dynamic-storm").scenario
    guests = scenario.guests
    assert (guests.count, scenario.release, scenario.host.tmem) == (60, "4.12", True)
    assert guests.selfballoon and guests.frontswap and guests.cleancache and guests.files
    assert guests.shared and guests.shared_writes


@pytest.mark.parametrize(
    ("sets", "key", "cure"),
    [
        (("release=4.17",), "host.tmem", 'has no tmem: set release = "4.3" or release = "4.12"'),
        (("host.tmem=false",), "guests.cleancache", "add tmem = true to [host]"),
        (("guests.files=0",), "guests.cleancache", "nothing is read"),
        (("guests.swap=0",), "guests.frontswap", "stands in front of no swap"),
        (("guests.self_sizing=false",), "guests.selfballoon", "remove one of the two"),
    ],
)
def test_keys_that_cannot_go_together_are_named_with_their_cure(
    sets: tuple[str, ...], key: str, cure: str
) -> None:
    """tmem needs its release, and what uses tmem needs tmem: one line for each."""
    with pytest.raises(ScenarioError) as error:
        load_scenario("dynamic-storm", sets)
    assert any(key in line and cure in line for line in error.value.lines)


@pytest.mark.rule("T1")
def test_a_clamp_with_tmem_controls_is_refused_where_there_is_no_tmem() -> None:
    """`scheme.clamp.tmem` on 4.17 ends before anything is started, with one line and exit code 2."""
    done = claimlab("run", "default", "--scheme", "clamp", "--set", "scheme.clamp.tmem=freeze")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "it needs one of 4.3, 4.12" in line
