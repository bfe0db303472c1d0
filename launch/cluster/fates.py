"""What became of every launch over several hosts, from the broker's book and what each host heard."""

from __future__ import annotations

from collections.abc import Mapping

from hypervisor.public.orders import Outcome, Stage
from hypervisor.public.units import Seconds
from launch.cluster.broker import Attempt, Broker, Fate
from launch.cluster.host_plan import HostResult
from launch.launches import Launch, fold
from launch.over_hosts import LaunchFate, Tried

Ends = Mapping[int, Outcome]
"""The last word about an order, by its number."""


def fates_of(broker: Broker, results: Mapping[str, HostResult], duration: Seconds) -> tuple[LaunchFate, ...]:
    """Every launch of the run, in the order of their arrival."""
    launches = {
        one.order: one for result in results.values() for one in fold(result.ordered_at, result.outcomes)
    }
    ends = {
        one.order: one
        for result in results.values()
        for one in result.outcomes
        if one.stage not in (Stage.ADMITTED, Stage.DESTROYED)
    }
    return tuple(_fate(fate, launches, ends, duration) for fate in broker.fates.values())


def _fate(fate: Fate, launches: Mapping[int, Launch], ends: Ends, duration: Seconds) -> LaunchFate:
    given = [attempt for attempt in fate.attempts if attempt.order.order in launches]
    tried = tuple(_tried(attempt, launches, ends, duration) for attempt in given)
    built = [
        end.time
        for attempt in given
        if (end := ends.get(attempt.order.order)) is not None and end.stage == Stage.BUILT
    ]
    return LaunchFate(fate.arrival.t, tried, min(built, default=None), fate.given_up)


def _tried(attempt: Attempt, launches: Mapping[int, Launch], ends: Ends, duration: Seconds) -> Tried:
    number = attempt.order.order
    end = ends.get(number)
    return Tried(attempt.host, attempt.at, duration if end is None else end.time, launches[number])
