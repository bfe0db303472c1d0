"""Placement policies: which of several hosts a launch is tried on. No clock, no socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, assert_never

from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_exponential
from tenacity.wait import wait_base

from hypervisor.public.units import Pages, Seconds
from launch.scenario.placement import PlacementTable

ASKING: Final = ("first-fit", "most-free")
"""The policies that want to know how much memory is free."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known where a launch is placed; what a host answered may be old by now."""

    hosts: Sequence[str]
    """Those there are, in the file's order, without those that were lost."""
    free: Mapping[str, Pages]
    """Free memory beside claims when the host was last asked."""


def choose(table: PlacementTable, view: View, pages: Pages, tried: Sequence[str], rng: Random) -> str | None:
    """The host for a launch of `pages` that was tried on `tried` before; None when there is none at all."""
    wanted = table.alternates if table.policy == "alternates" else view.hosts
    there = [name for name in wanted if name in view.hosts]
    fewest = min((tried.count(name) for name in there), default=0)
    left = [name for name in there if tried.count(name) == fewest]
    if not left:
        return None
    match table.policy:
        case "alternates":
            return left[0]
        case "random":
            return rng.choice(left)
        case "first-fit":
            return next((name for name in left if view.free.get(name, 0) >= pages), left[0])
        case "most-free":
            return max(left, key=lambda name: view.free.get(name, 0))  # of equals the first
        case _:
            assert_never(table.policy)


class _Jitter(wait_base):
    """tenacity's own draws from a stream that nobody can seed."""

    def __init__(self, longest: Seconds, rng: Random) -> None:
        self._longest = longest
        self._rng = rng

    def __call__(self, retry_state: RetryCallState) -> float:
        return self._rng.uniform(0.0, self._longest)


class Patience:
    """When a launch is tried again, and when it is given up."""

    def __init__(self, table: PlacementTable, rng: Random) -> None:
        self._retrying = Retrying(
            stop=stop_after_attempt(table.attempts),
            wait=wait_exponential(table.wait, table.wait_max) + _Jitter(table.jitter, rng),
        )

    def wait(self, attempts: int) -> Seconds | None:
        """Emulated seconds after the end of the attempt of that number, from 1; None: no more."""
        state = RetryCallState(self._retrying, None, (), {})
        state.attempt_number = attempts
        return None if self._retrying.stop(state) else self._retrying.wait(state)
