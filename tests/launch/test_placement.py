"""Placement policies and the broker: pure functions of what is known, without hosts."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from launch.arrivals.arrival import Arrival
from launch.cluster.orders import launch_of, order_of
from launch.cluster.policies import Patience, View, choose
from launch.scenario.models import Scenario
from launch.scenario.placement import PlacementTable

HOSTS = ("a", "b", "c")
POLICIES = ("first-fit", "most-free", "random", "alternates")


def table(policy: str, **more: Any) -> PlacementTable:
    """[placement] with that policy."""
    alternates = HOSTS if policy == "alternates" else ()
    return PlacementTable.model_validate({"policy": policy, "alternates": alternates, **more})


def number_of(launch: int, attempt: int) -> int:
    """The number of an order."""
    arrival = Arrival(1.0, 100, 1, None, 0)
    return order_of(Scenario(name="s"), arrival, launch, attempt).order


def test_each_policy_chooses_by_what_it_knows() -> None:
    """The first with room, the largest answer, the first of the list; without any room the first."""
    view = View(HOSTS, {"a": 10, "b": 50, "c": 90})
    assert choose(table("first-fit"), view, 40, (), Random(1)) == "b"
    assert choose(table("first-fit"), view, 99, (), Random(1)) == "a"
    assert choose(table("most-free"), view, 40, (), Random(1)) == "c"
    assert choose(table("most-free"), View(HOSTS, {"a": 5, "b": 5}), 1, (), Random(1)) == "a"
    listed = table("alternates", alternates=("c", "a"))
    assert [choose(listed, view, 40, tried, Random(1)) for tried in ((), ("c",), ("c", "a"))] == [
        "c",
        "a",
        "c",
    ]
    drawn = {choose(table("random"), view, 40, (), Random(seed)) for seed in range(20)}
    assert drawn == set(HOSTS)


@given(st.sampled_from(POLICIES), st.lists(st.sampled_from(HOSTS)), st.integers(0, 100), st.integers())
def test_no_host_is_tried_again_before_all_have_been(
    policy: str, tried: list[str], pages: int, seed: int
) -> None:
    """Whatever the policy, the host chosen is one of those that the launch was tried on least."""
    chosen = choose(table(policy), View(HOSTS, {"a": 7, "c": 70}), pages, tried, Random(seed))
    assert chosen is not None
    assert tried.count(chosen) == min(tried.count(name) for name in HOSTS)


def test_without_hosts_there_is_no_choice() -> None:
    """A launch is given up when every host it may go to was lost."""
    assert choose(table("most-free"), View((), {}), 1, (), Random(1)) is None
    assert choose(table("alternates", alternates=("c",)), View(("a", "b"), {}), 1, (), Random(1)) is None


@given(st.integers(1, 12), st.floats(0, 5), st.floats(0, 30), st.integers())
def test_waits_double_up_to_their_longest_and_jitter_comes_on_top(
    attempts: int, jitter: float, longest: float, seed: int
) -> None:
    """Bounded attempts, exponential waits, jitter from a seeded stream."""
    patience = Patience(
        table("random", attempts=attempts, wait=1, wait_max=longest, jitter=jitter), Random(seed)
    )
    for attempt in range(1, attempts):
        wait = patience.wait(attempt)
        least = min(2.0 ** (attempt - 1), longest)
        assert wait is not None and least <= wait <= least + jitter + 1e-9
    assert patience.wait(attempts) is None


@given(st.integers(1, 1_000_000), st.integers(1, 50))
def test_an_order_tells_its_launch(launch: int, attempt: int) -> None:
    """Every attempt has a number of its own, from which the launch can be told."""
    from_arrival = number_of(launch, attempt)
    assert launch_of(from_arrival) == launch
    assert number_of(launch, attempt + 1) - from_arrival == 1_000_000
