"""A whole `claimlab simulate`: every scheme and repeat in virtual time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from launch.cluster.checks import NO_PLUGINS, check_plugins
from launch.cluster.cluster_plan import ClusterPlan, ClusterResult
from launch.cluster.host_plan import HostPlan, HostResult, Plugins
from launch.cluster.rounds import Progress, Runners, run_every
from launch.cluster.toolstacks import FOREIGN
from launch.results import Results
from launch.scenario.at_once import schemes_at_once
from launch.scenario.complaints import Fault
from launch.scenario.load import Loaded
from launch.scenario.models import Scenario
from launch.simulate.host_run import USUAL, run_virtual
from launch.simulate.hosts_run import run_virtual_hosts
from launch.simulate.links import Links
from launch.summary import Report


def check_simulation(loaded: Loaded, plugins: Plugins = NO_PLUGINS) -> None:
    """ScenarioError for schemes that cannot be had, or that are no coroutines of ours."""
    if any(FOREIGN in schemes_at_once(entry) for entry in loaded.scenario.schemes):
        text = f'"{FOREIGN}" toolstacks live in real time: use claimlab run, or leave it out'
        raise loaded.error(Fault(("schemes",), text))
    check_plugins(loaded, plugins, ())


def simulate_scenario(
    loaded: Loaded,
    results: Results | None,
    progress: Progress,
    plugins: Plugins = NO_PLUGINS,
    links: Links = USUAL,
) -> Report:
    """Run it all and fold it into one report, as `launch.cluster.run.run_scenario` does with processes.

    Without `results` no evidence is kept. UsageError for what the user can put right.
    """

    def run_one(plan: HostPlan, scheme: str) -> HostResult:
        if results is None:
            return run_virtual(plan, scheme, links, evidence=False)
        folder = results.host_directory(scheme, plan.repeat, plan.scenario.host.name)
        return run_virtual(plan, scheme, links, folder)

    def run_several(plan: ClusterPlan, scheme: str) -> ClusterResult:
        if results is None:
            return run_virtual_hosts(plan, scheme, links, evidence=False)
        folder = partial(results.host_directory, scheme, plan.repeat)
        return run_virtual_hosts(plan, scheme, links, folder)

    report = run_every(loaded.scenario, plugins, Runners(run_one, run_several), _length, progress)
    return replace(report, virtual_round_trip=2 * links.delay)


def _length(scenario: Scenario) -> str:
    return f"{scenario.duration:g} virtual s"
