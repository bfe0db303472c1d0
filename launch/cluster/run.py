"""A whole `claimlab run`: every scheme and repeat, one after the other, on one host each."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from launch.cluster.arrivals import plan_arrivals
from launch.cluster.checks import NO_PLUGINS, check_plugins
from launch.cluster.cluster_plan import ClusterPlan, ClusterResult
from launch.cluster.crew import Crew
from launch.cluster.host_plan import HostPlan, HostResult, Plugins
from launch.cluster.host_run import HostRun, PartyLostError
from launch.cluster.hosts_run import HostsRun
from launch.cluster.rounds import Progress, Runners, run_every
from launch.cluster.toolstacks import FOREIGN
from launch.curable import curable
from launch.live.access import remove_access
from launch.live.steering import UNATTENDED, Steering
from launch.results import SOCKETS_PREFIX, Results, remove_sockets
from launch.scenario.disturbed import shared_process_faults
from launch.scenario.limits import Needs, ensure_limits, needs
from launch.scenario.load import Loaded
from launch.scenario.models import Scenario
from launch.summary import Report


def check_run(loaded: Loaded, plugins: Plugins = NO_PLUGINS) -> None:
    """What must hold before a folder is made: schemes, their parameters, the limits of the machine."""
    check_plugins(loaded, plugins, (FOREIGN,))
    shared = [*shared_process_faults(loaded.scenario)]
    if shared:
        raise loaded.error(*shared)
    ensure_limits(_needs(loaded.scenario))


def _needs(scenario: Scenario) -> Needs:
    return needs(scenario, len(plan_arrivals(scenario, 1)))


def run_scenario(
    loaded: Loaded,
    results: Results,
    progress: Progress,
    plugins: Plugins = NO_PLUGINS,
    steering: Steering = UNATTENDED,
) -> Report:
    """Run it all and fold it into one report. `progress` gets a line for each stage.

    `plugins` are scheme and behaviour classes by the names that the scenario uses; dill carries them to their
    processes, so they may be defined in a notebook. `steering` is looked at while emulated time goes on.
    UsageError for what the user can put right.
    """

    def run_one(plan: HostPlan, scheme: str) -> HostResult:
        return run_host(plan, scheme, results, progress, steering)

    def run_several(plan: ClusterPlan, scheme: str) -> ClusterResult:
        return run_hosts(plan, scheme, results, progress, steering)

    scenario = loaded.scenario
    seconds = scenario.duration / scenario.speed
    length = f"{scenario.duration:g} emulated s, about {seconds:.0f} s{_needs(scenario).told()}"
    return run_every(scenario, plugins, Runners(run_one, run_several), lambda _: length, progress)


def run_host(
    plan: HostPlan, scheme: str, results: Results, say: Progress, steering: Steering = UNATTENDED
) -> HostResult:
    """One scheme on one host, once, with real processes. UsageError for what the user can put right."""
    folder = results.host_directory(scheme, plan.repeat, plan.scenario.host.name)
    sockets = Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX))
    try:
        results.record_sockets(sockets)
        with (
            curable(folder),
            Crew(folder, results.record_process) as crew,
            closing(HostRun(plan, scheme, folder, sockets, crew, say, steering=steering)) as run,
        ):
            try:
                return run.run()
            except PartyLostError as lost:
                return run.cut_short(str(lost))
    finally:
        remove_access(folder)
        remove_sockets(sockets)


def run_hosts(
    plan: ClusterPlan, scheme: str, results: Results, say: Progress, steering: Steering = UNATTENDED
) -> ClusterResult:
    """One scheme on several hosts, once, with real processes. UsageError for what the user can put right."""
    with curable(results.path), ExitStack() as stack:
        return HostsRun(plan, scheme, results, say, stack, steering).run()
