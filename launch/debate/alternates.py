"""H15: several hosts, tried in turn. Which it is that a launch lands on, and how long it took to find out.

Every launch tries the first host of the list; one that was refused there, or failed late, tries the next one
a moment after it has heard. So a host depends on those before it only, and they can be run one after the
other, each with the arrivals that the one before it turned away: what they would do at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Final

from hypervisor.public.orders import Stage
from hypervisor.public.units import Seconds
from launch.arrivals.arrival import Arrival
from launch.cluster.arrivals import plan_arrivals
from launch.cluster.host_plan import HostPlan, HostResult
from launch.cluster.plans import plan_guests
from launch.launches import Verdict, fold
from launch.percentile import percentile
from launch.scenario.models import Scenario
from launch.simulate.host_run import run_virtual
from launch.simulate.links import Links

if TYPE_CHECKING:
    from launch.debate.cells import Cell

PAUSE: Final[Seconds] = 0.5
"""Most emulated seconds between a no and the next try; evenly spread, so that not all come at once."""
NO: Final = (Verdict.REFUSED, Verdict.FAILED_LATE)


@dataclass
class Journey:
    """One launch from host to host."""

    arrival: Arrival
    began: Seconds
    running: Seconds | None = None
    """When its build was finished; None while it is not."""


@dataclass
class Tally:
    """What all hosts came to."""

    tries: int = 0
    wasted: int = 0
    journeys: list[Journey] = field(default_factory=list[Journey])


def run_hosts(cell: Cell, scenario: Scenario, hosts: int) -> Mapping[str, float | None]:
    """running_p99_s: seconds from the order to a finished build, 99th percentile, the rest of the run for a
    launch that has none; running_mean_s; wasted_pages: populated and thrown away, all hosts; tries; unplaced.
    """
    tally = Tally()
    tally.journeys = [Journey(one, one.t) for one in plan_arrivals(scenario, cell.seed)]
    trying: Sequence[Journey] = tally.journeys
    for host in range(hosts):
        trying = list(_try_host(cell, scenario, host, trying, tally))
    taken = [(one.running or scenario.duration) - one.began for one in tally.journeys]
    return {
        "running_p99_s": percentile(taken, 99),
        "running_mean_s": sum(taken) / len(taken) if taken else None,
        "wasted_pages": float(tally.wasted),
        "tries": float(tally.tries),
        "unplaced": float(sum(one.running is None for one in tally.journeys)),
    }


def _try_host(
    cell: Cell, scenario: Scenario, host: int, trying: Sequence[Journey], tally: Tally
) -> Iterator[Journey]:
    """Run one host; gives those that it turned away, in the order in which they try the next."""
    ordered = sorted(trying, key=lambda one: one.arrival.t)
    repeat = cell.seed * 100 + host  # other guests on every host, the same for every arm
    plan = HostPlan(scenario, repeat, plan_guests(scenario, repeat), [one.arrival for one in ordered])
    result = run_virtual(plan, scenario.schemes[0], Links(cell.delay), evidence=False)
    rng = Random(f"{cell.seed} alternates {host}")
    launches = fold(result.ordered_at, result.outcomes)
    tally.tries += len(launches)
    tally.wasted += sum(one.pages_discarded for one in launches if one.verdict in NO)
    ends = _built_at(result)
    for one in launches:
        journey = ordered[one.order - 1]
        journey.running = ends.get(one.order)
        if one.verdict in NO and one.answered_after is not None:
            again = result.ordered_at[one.order] + one.answered_after + rng.uniform(0, PAUSE)
            journey.arrival = replace(journey.arrival, t=again)
            yield journey


def _built_at(result: HostResult) -> Mapping[int, Seconds]:
    return {one.order: one.time for one in result.outcomes if one.stage == Stage.BUILT}
