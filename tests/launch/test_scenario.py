"""Scenario files become checked models: sizes, defaults, changes by --set, and the built-in ones."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypervisor.public.units import PAGES_PER_GIB, PAGES_PER_MIB
from launch.cluster.arrivals import plan_arrivals
from launch.cluster.host_plan import HostPlan
from launch.cluster.plans import plan_guests
from launch.cluster.run import check_run
from launch.errors import UsageError
from launch.launches import Verdict, fold
from launch.results import resolved
from launch.scenario.document import apply_set, built_in_names
from launch.scenario.impossible import room
from launch.scenario.load import Loaded, load_scenario
from launch.scenario.mix import deal
from launch.scenario.sizes import format_size, parse_size
from launch.scenario.windows import guest_windows
from launch.scenario.workloads import ConstantDemand, RandomWalkDemand, SineDemand
from launch.scenario.world import check_behaviour, check_traces
from launch.simulate.host_run import run_virtual
from launch.simulate.run import check_simulation

SMALL = """
[guests]
count = 2
memory = "512MiB"
[arrivals]
count = 1
size = "1GiB"
"""


def load(tmp_path: Path, text: str = SMALL, **changes: Any) -> Loaded:
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return load_scenario(path, **changes)


@pytest.mark.parametrize(
    ("text", "pages"),
    [("4KiB", 1), ("512MiB", 131_072), ("1.5 GiB", 393_216), ("1TiB", 1 << 28), ("7", 7), (7, 7), (0, 0)],
)
def test_sizes_are_pages(text: object, pages: int) -> None:
    """A size with a unit, or a whole number of pages, is that many 4 KiB pages."""
    assert parse_size(text) == pages


@given(st.integers(min_value=0, max_value=1 << 36))
def test_a_size_written_is_read_back(pages: int) -> None:
    """Every number of pages survives being written for a reader."""
    assert parse_size(format_size(pages)) == pages


def test_what_a_file_leaves_out_has_a_default(tmp_path: Path) -> None:
    """A short file gives a whole scenario, named after the file."""
    scenario = load(tmp_path).scenario
    assert scenario.name == "small"
    assert scenario.release == "4.17"
    assert scenario.schemes == ("naive", "claim", "clamp")
    assert (scenario.guests.count, scenario.guests.memory) == (2, 512 * PAGES_PER_MIB)
    assert scenario.host.memory == 16 * PAGES_PER_GIB


def test_set_takes_values_of_every_kind(tmp_path: Path) -> None:
    """--set reads numbers, text, lists, tables and items of lists, and a release that looks like a number."""
    sets = (
        "release=4.22",
        "guests.count=3",
        "name=demo",
        "schemes=claim, naive",
        'host.nodes=["8GiB", "8GiB"]',
        'guests.workload=[{kind="constant"}, {kind="sine", mean="400MiB", amplitude=1, period=9}]',
        "guests.workload.1.amplitude=4MiB",
        "scheme.clamp.cut=even",
        'scheme."my.module:Class".depth=2',
    )
    scenario = load(tmp_path, sets=sets).scenario
    assert (scenario.release, scenario.guests.count, scenario.name) == ("4.22", 3, "demo")
    assert scenario.schemes == ("claim", "naive")
    assert scenario.host.nodes == (8 * PAGES_PER_GIB, 8 * PAGES_PER_GIB)
    sine = scenario.guests.workload[1]
    assert isinstance(sine, SineDemand) and sine.amplitude == 4 * PAGES_PER_MIB
    assert scenario.scheme == {"clamp": {"cut": "even"}, "my.module:Class": {"depth": 2}}


def test_set_leaves_the_original_alone() -> None:
    """Changes are made to a copy."""
    document = {"guests": {"count": 1}}
    assert apply_set(document, ["guests.count=2"]) == {"guests": {"count": 2}}
    assert document == {"guests": {"count": 1}}


@pytest.mark.parametrize(
    ("assignment", "cure"),
    [
        ("guests.count", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("guests..count=3", "no dotted key"),
        ("seed.deep=3", "end the key there"),
        ("list.7=3", "number them 0 to 1"),
        ("list.x=3", "number them 0 to 1"),
    ],
)
def test_a_malformed_assignment_is_one_line_with_the_cure(assignment: str, cure: str) -> None:
    """A --set that cannot be carried out is refused in one line that quotes it."""
    with pytest.raises(UsageError) as error:
        apply_set({"seed": 1, "list": [1, 2]}, [assignment])
    assert len(error.value.lines) == 1
    assert f"--set {assignment}" in str(error.value) and cure in str(error.value)


def test_options_win_over_set(tmp_path: Path) -> None:
    """--seed and --scheme have the last word."""
    scenario = load(tmp_path, sets=("seed=5", "schemes=naive"), seed=7, schemes=["claim"]).scenario
    assert (scenario.seed, scenario.schemes) == (7, ("claim",))


def test_one_hosts_table_is_laid_over_the_defaults(tmp_path: Path) -> None:
    """[host] and [guests] are the defaults of the one [[hosts]] table."""
    text = (
        SMALL
        + '[host]\ndom0 = "2GiB"\n[[hosts]]\nname = "left"\nmemory = "8GiB"\n[hosts.guests]\ncount = 1\n'
    )
    scenario = load(tmp_path, text).scenario
    assert (scenario.host.name, scenario.host.memory) == ("left", 8 * PAGES_PER_GIB)
    assert scenario.host.dom0 == 2 * PAGES_PER_GIB
    assert (scenario.guests.count, scenario.guests.memory) == (1, 512 * PAGES_PER_MIB)


def test_trace_paths_are_relative_to_where_they_were_written(tmp_path: Path) -> None:
    """A path in a file starts at the file's folder, one in --set at the working directory."""
    text = 'name = "t"\n[guests]\ntrace = "data"\nworkload = [{kind = "replay"}]\n[arrivals]\ncount = 0\n'
    assert load(tmp_path, text).scenario.guests.trace == tmp_path / "data"
    assert load(tmp_path, text, sets=("guests.trace=data",)).scenario.guests.trace == Path("data")


def test_a_resolved_scenario_can_be_run_again(tmp_path: Path) -> None:
    """What a run writes down about its scenario loads to the same scenario."""
    loaded = load_scenario("default", ["release=4.22", "host.low_mem_virq=64MiB"], seed=3)
    copy = tmp_path / "scenario.json"
    copy.write_text(resolved(loaded), encoding="utf-8")
    assert load_scenario(copy).scenario == loaded.scenario
    assert json.loads(resolved(loaded))["seed"] == 3


def test_the_default_scenario_does_not_all_fit() -> None:
    """The default: 24 sine and random-walk guests on 16 GiB; one build fits, all together do not."""
    scenario = load_scenario("default").scenario
    guests, arrivals = scenario.guests, scenario.arrivals
    assert guests.count == 24 and scenario.host.memory == 16 * PAGES_PER_GIB
    assert {type(demand) for demand in guests.workload} == {SineDemand, RandomWalkDemand}
    assert guests.memory and arrivals.size and arrivals.count
    free = room(scenario.host) - guests.count * guests.memory
    assert 2 * arrivals.size < free < arrivals.count * arrivals.size
    assert len(scenario.schemes) * scenario.duration / scenario.speed < 40


def test_the_built_in_scenarios_are_found_by_name() -> None:
    """They ship inside the package, sorted."""
    names = built_in_names()
    assert {"borg", "default", "dynamic-storm", "ten-thousand", "thousand", "worst-case"} <= set(names)
    assert set(ARGUMENTS) <= set(names)
    assert list(names) == sorted(names)


ARGUMENTS = ("hundreds", "two-builders", "tmem-freeze", "sum-of-maxes")
"""Scenarios that are one paragraph of the seed each."""


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_paragraph_of_the_seed_is_a_scenario_that_says_which(name: str) -> None:
    """It can be run and simulated with its schemes, and quotes what it is about before its first key."""
    loaded = load_scenario(name)
    check_run(loaded)
    check_simulation(loaded)
    head = loaded.source.text.partition("\nname =")[0]
    assert all(line.startswith("#") or not line for line in head.splitlines()) and head.count('"') >= 2
    assert loaded.scenario.duration / loaded.scenario.speed < 20, "seconds a scheme"
    assert loaded.scenario.about


def test_of_two_builders_without_a_reservation_both_fail() -> None:
    """naive: both begin and neither is built; claim refuses one of them in one call."""
    first_round = ["arrivals.at=[10, 10]", 'arrivals.sizes=["104MiB", "104MiB"]', "duration=40"]
    scenario = load_scenario("two-builders", first_round).scenario
    plan = HostPlan(scenario, 1, plan_guests(scenario, 1), plan_arrivals(scenario, 1))
    ends = {
        scheme: sorted(one.verdict for one in fold(result.ordered_at, result.outcomes))
        for scheme in ("naive", "claim")
        for result in [run_virtual(plan, scheme)]
    }
    assert ends == {"naive": [Verdict.FAILED_LATE] * 2, "claim": [Verdict.BUILT, Verdict.REFUSED]}


def test_borg_runs_on_the_shared_traces(shared: Path) -> None:
    """borg loads with both traces named, finds its columns and cuts 40 windows of an hour."""
    traces = shared / "traces"
    sets = (
        f"guests.trace={traces / 'google-borg2019-instances' / 'input-sim'}",
        f"arrivals.trace={traces / 'azure-v1-arrivals'}",
    )
    loaded = load_scenario("borg", sets)
    check_traces(loaded)
    check_behaviour(loaded)
    guests = loaded.scenario.guests
    windows = guest_windows(guests, guests.count, Random(1))
    assert len(set(windows)) == 40 and {window.length for window in windows} == {12}


def test_trace_start_passes_over_the_beginning_of_each_file(tmp_path: Path) -> None:
    """Windows begin at or after sample trace_start, and name their place in the whole file."""
    header = "Timestamp [ms];\tMemory capacity provisioned [KB];\tMemory usage [KB]"
    rows = [f"{1_400_000_000 + 300 * number};\t4096;\t{4 * number}" for number in range(20)]
    (tmp_path / "vm.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    sets = (
        f"guests.trace={tmp_path}",
        "guests.trace_start=15",
        "guests.trace_length=5",
        'guests.workload=[{kind="replay"}]',
    )
    guests = load(tmp_path, sets=sets).scenario.guests
    (window,) = guest_windows(guests, 1, Random(1))
    assert window.first == 15
    assert [sample.used for sample in window.samples()] == [15, 16, 17, 18, 19]


@given(st.integers(0, 50), st.lists(st.floats(0.1, 9), min_size=1, max_size=4), st.integers())
def test_a_mix_is_dealt_by_weight_whatever_the_seed(count: int, weights: list[float], seed: int) -> None:
    """Each kind gets its share of the guests to within one, and every guest gets a kind."""
    mix = [ConstantDemand(kind="constant", pages=n, weight=weight) for n, weight in enumerate(weights)]
    dealt = deal(mix, count, Random(seed))
    assert len(dealt) == count
    for demand in mix:
        assert abs(dealt.count(demand) - count * demand.weight / sum(weights)) < 1
