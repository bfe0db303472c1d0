"""What is to be run on several hosts and what came of it: the same for real processes and virtual time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from launch.arrivals.arrival import Arrival
from launch.cluster.arrivals import plan_arrivals
from launch.cluster.host_plan import HostPlan, HostResult, Plugins
from launch.cluster.plans import plan_guests
from launch.cluster.streams import number
from launch.over_hosts import LaunchFate
from launch.scenario.models import Scenario
from launch.scenario.scenes import scenes


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The same for every scheme of a repeat."""

    scenario: Scenario
    repeat: int
    hosts: Sequence[HostPlan]
    """None has arrivals of its own."""
    arrivals: Sequence[Arrival]


@dataclass(frozen=True, slots=True)
class ClusterResult:
    """What came of it, by host and over all."""

    hosts: Mapping[str, HostResult]
    launches: Sequence[LaunchFate]

    def each(self) -> Iterator[HostResult]:
        """The hosts' results; every line that is told begins with the host's name."""
        for name, one in self.hosts.items():
            yield replace(
                one,
                leftovers=tuple(f"{name}: {line}" for line in one.leftovers),
                violations=tuple(f"{name}: {line}" for line in one.violations),
                notes=[f"{name}: {line}" for line in one.notes],
            )


def plan_cluster(scenario: Scenario, repeat: int, plugins: Plugins) -> ClusterPlan:
    """The plan of one repeat. ScenarioError for traces that fail."""
    hosts = [_plan_host(scenario, one, repeat, plugins) for one in scenes(scenario)]
    return ClusterPlan(scenario, repeat, hosts, plan_arrivals(scenario, repeat))


def _plan_host(whole: Scenario, one: Scenario, repeat: int, plugins: Plugins) -> HostPlan:
    """Each host has streams of its own; what a launch will demand is the same wherever it goes."""
    own = one.model_copy(update={"seed": number(whole.seed, 0, f"host {one.host.name}")})
    return HostPlan(own, repeat, plan_guests(own, repeat), (), plugins, launches_seed=whole.seed)
