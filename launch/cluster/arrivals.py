"""The scenario's arrivals as a list of launches, ordered by time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, repeat
from random import Random

from guests.traces.errors import TraceError
from hypervisor.public.units import Pages
from launch.arrivals.arrival import Arrival, Size
from launch.arrivals.azure import Thinning, azure
from launch.arrivals.synthetic import Lifetime, burst, exponential, forever, poisson
from launch.cluster.streams import stream
from launch.errors import ScenarioError
from launch.scenario.models import ArrivalsTable, Scenario
from launch.scenario.scenes import largest_room


def plan_arrivals(scenario: Scenario, repeat_number: int) -> tuple[Arrival, ...]:
    """Every launch of a run; the same for every scheme. ScenarioError for a trace that fails."""
    rng = stream(scenario.seed, repeat_number, "arrivals")
    try:
        arrivals = _arrivals(scenario, rng)
        within = (
            one for one in arrivals if one.t < scenario.duration and one.pages <= largest_room(scenario)
        )
        return tuple(islice(within, scenario.arrivals.limit))
    except TraceError as error:
        raise ScenarioError(f"arrivals.trace: {error}") from error


def _arrivals(scenario: Scenario, rng: Random) -> Iterator[Arrival]:
    table = scenario.arrivals
    match table.kind:
        case "burst":
            return _burst(table, rng)
        case "poisson":
            return _poisson(table, scenario.duration, rng)
        case "azure":
            return _azure(table, scenario.duration, rng)
        case "list":
            return _listed(table)


def _sizes(table: ArrivalsTable) -> tuple[Pages, ...]:
    return table.sizes or (() if table.size is None else (table.size,))


def _burst(table: ArrivalsTable, rng: Random) -> Iterator[Arrival]:
    sizes = _sizes(table)
    at = table.at if isinstance(table.at, float | int) else min(table.at, default=0.0)
    lifetimes = forever if table.lifetime is None else _fixed(table.lifetime)
    one = Size(sizes[0], table.vcpus) if sizes else Size(1, 1)
    for arrival in burst(table.count or 0, one, at, table.spread, rng, lifetimes):
        yield Arrival(arrival.t, rng.choice(sizes), arrival.vcpus, arrival.lifetime, arrival.batch)


def _fixed(seconds: float) -> Lifetime:
    return lambda _rng: seconds


def _poisson(table: ArrivalsTable, duration: float, rng: Random) -> Iterator[Arrival]:
    sizes = [Size(pages, table.vcpus) for pages in _sizes(table)]
    lifetimes = forever if table.lifetime is None else exponential(table.lifetime)
    assert table.rate is not None, "the scenario's own check"
    return islice(poisson(table.rate, sizes, lifetimes, rng, duration), table.count)


def _azure(table: ArrivalsTable, duration: float, rng: Random) -> Iterator[Arrival]:
    assert table.trace is not None, "the scenario's own check"
    length = duration if table.length is None else table.length
    thinning = Thinning(keep=table.batch_fraction, batch_pages=table.batch_memory_cap)
    launches = azure(table.trace, rng, thinning, start=table.start, length=length)
    return (replace(one, pages=max(1, round(one.pages * table.scale))) for one in launches)


def _listed(table: ArrivalsTable) -> Iterator[Arrival]:
    moments = table.at if isinstance(table.at, tuple) else (table.at,)
    sizes = table.sizes or tuple(repeat(table.size or 0, len(moments)))
    pairs = sorted(zip(moments, sizes, strict=True))
    return (Arrival(t, pages, table.vcpus, table.lifetime, n) for n, (t, pages) in enumerate(pairs))
