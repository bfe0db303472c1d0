"""Arrival streams made up from a random stream: Poisson and burst."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeAlias

from launch.arrivals.arrival import Arrival, Size

Lifetime: TypeAlias = Callable[[Random], float | None]
"""Draws the lifetime of one guest, in emulated seconds; None lives to the end."""


def forever(_rng: Random) -> None:
    """No guest is destroyed before the end."""
    return None


def exponential(mean: float) -> Lifetime:
    """Lifetimes without memory, `mean` emulated seconds on average."""
    if mean <= 0:
        raise ValueError(f"mean lifetime {mean} s: must be above 0")
    return lambda rng: rng.expovariate(1 / mean)


def poisson(
    rate: float, sizes: Sequence[Size], lifetimes: Lifetime, rng: Random, until: float = math.inf
) -> Iterator[Arrival]:
    """Yield single launches at `rate` per emulated second, before `until`.

    Each is of one of `sizes`, equally likely. Without `until` the stream never ends. Every launch is a batch
    of its own.
    """
    if rate <= 0:
        raise ValueError(f"arrival rate {rate} per second: must be above 0")
    if not sizes:
        raise ValueError("no guest sizes to choose from: give at least one")
    return _poisson(rate, tuple(sizes), lifetimes, rng, until)


def _poisson(
    rate: float, sizes: tuple[Size, ...], lifetimes: Lifetime, rng: Random, until: float
) -> Iterator[Arrival]:
    batch = 0
    t = rng.expovariate(rate)
    while t < until:
        size = rng.choice(sizes)
        yield Arrival(t, size.pages, size.vcpus, lifetimes(rng), batch)
        batch += 1
        t += rng.expovariate(rate)


def burst(
    count: int,
    size: Size,
    at: float,
    spread: float,
    rng: Random,
    lifetimes: Lifetime = forever,
    batch: int = 0,
) -> Iterator[Arrival]:
    """Yield `count` launches of one batch, uniformly within `spread` emulated seconds from `at`, in order."""
    if count < 0 or at < 0 or spread < 0:
        raise ValueError(f"burst of {count} at {at} s over {spread} s: none of these may be negative")
    moments = sorted(at + rng.uniform(0, spread) for _ in range(count))
    return (Arrival(t, size.pages, size.vcpus, lifetimes(rng), batch) for t in moments)
