"""Every scheme and repeat of a scenario, one after the other, folded into one report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hypervisor.public.orders import RAISED, WAITED_FOR, Outcome
from launch.attribution import attributions
from launch.cluster.arrivals import plan_arrivals
from launch.cluster.cluster_plan import ClusterPlan, ClusterResult, plan_cluster
from launch.cluster.host_plan import HostPlan, HostResult, Plugins
from launch.cluster.plans import plan_guests
from launch.launches import Launch, Verdict, fold
from launch.memory_figures import memory_figures
from launch.over_hosts import LaunchFate, over_hosts
from launch.scenario.models import Scenario
from launch.scenario.scenes import host_names
from launch.summary import Endings, Report, SchemeSummary, Summary, summarise
from launch.trust import distrust, lags_of, time_scale

Progress = Callable[[str], None]
FLOOD: Final = 100_000
"""Hypercalls for one launch beyond which the summary says so: a sweep over 1,000 domains takes 4,000."""


@dataclass(frozen=True, slots=True)
class Runners:
    """How one scheme is run once."""

    one: Callable[[HostPlan, str], HostResult]
    """On one host."""
    several: Callable[[ClusterPlan, str], ClusterResult]


@dataclass(slots=True)
class _Finished:
    """What came of one scheme so far."""

    results: list[HostResult] = field(default_factory=list[HostResult])
    """Of every host in every repeat."""
    launches: list[Sequence[LaunchFate]] = field(default_factory=list[Sequence[LaunchFate]])
    """Of several hosts, by repeat."""


def plan_hosts(scenario: Scenario, plugins: Plugins) -> list[HostPlan]:
    """One plan for each repeat. ScenarioError for traces that fail."""
    return [
        HostPlan(scenario, repeat, plan_guests(scenario, repeat), plan_arrivals(scenario, repeat), plugins)
        for repeat in range(1, scenario.repeats + 1)
    ]


def run_every(
    scenario: Scenario,
    plugins: Plugins,
    runners: Runners,
    length: Callable[[Scenario], str],
    progress: Progress,
) -> Report:
    """Run it all. `progress` gets a line before and after each; `length` tells it how long one takes."""
    plans = _plans(scenario, plugins)
    finished: dict[str, _Finished] = {}
    for scheme in scenario.schemes:
        for plan in plans:
            progress(f"{_announcement(scenario, scheme, plan)}, {length(scenario)}")
            results = _run(plan, scheme, runners, finished.setdefault(scheme, _Finished()))
            progress(f"  {_outcome_line(results)}")
    return _report(scenario, finished)


def _plans(scenario: Scenario, plugins: Plugins) -> Sequence[HostPlan | ClusterPlan]:
    if not scenario.hosts:
        return plan_hosts(scenario, plugins)
    return [plan_cluster(scenario, repeat, plugins) for repeat in range(1, scenario.repeats + 1)]


def _run(
    plan: HostPlan | ClusterPlan, scheme: str, runners: Runners, finished: _Finished
) -> Sequence[HostResult]:
    if isinstance(plan, HostPlan):
        results = [runners.one(plan, scheme)]
    else:
        done = runners.several(plan, scheme)
        results = list(done.each())
        finished.launches.append(done.launches)
    finished.results += results
    return results


def _announcement(scenario: Scenario, scheme: str, plan: HostPlan | ClusterPlan) -> str:
    hosts = [plan] if isinstance(plan, HostPlan) else plan.hosts
    where = f" on {len(hosts)} hosts" if len(hosts) > 1 else ""
    return (
        f"{scheme} (repeat {plan.repeat} of {scenario.repeats}): {sum(len(one.guests) for one in hosts)} "
        f"guests{where}, {len(plan.arrivals)} launches"
    )


def _outcome_line(results: Sequence[HostResult]) -> str:
    launches = [one for result in results for one in fold(result.ordered_at, result.outcomes)]
    counted: dict[str, int] = {}
    for launch in launches:
        counted[launch.verdict.value] = counted.get(launch.verdict.value, 0) + 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counted.items()) or "no launches"


def _report(scenario: Scenario, done: Mapping[str, _Finished]) -> Report:
    finished = {scheme: one.results for scheme, one in done.items()}
    every = [(scheme, result) for scheme, repeats in finished.items() for result in repeats]
    hosts = host_names(scenario)
    violations = tuple(f"{scheme}: {line}" for scheme, result in every for line in result.violations)
    trips = [result.round_trip for _, result in every if result.round_trip is not None]
    notes = [
        f"{scheme}: {line}"
        for scheme, result in every
        for line in (*result.notes, *_faults(result), *_load(scenario, result))
    ]
    return Report(
        scenario=scenario.name,
        summary=Summary(
            valid=not violations,
            seed=scenario.seed,
            release=scenario.release,
            speed=scenario.speed,
            schemes={scheme: _scheme_summary(repeats) for scheme, repeats in finished.items()},
            over_hosts={scheme: over_hosts(one.launches, hosts) for scheme, one in done.items() if hosts},
        ),
        round_trip=sorted(trips)[len(trips) // 2] if trips else None,
        violations=violations,
        leftovers={
            scheme: tuple(line for result in repeats for line in result.leftovers)
            for scheme, repeats in finished.items()
        },
        notes=(*notes, *attributions(scenario)),
        endings={scheme: _endings(repeats) for scheme, repeats in finished.items()},
    )


def _load(scenario: Scenario, result: HostResult) -> list[str]:
    complaint = distrust(lags_of(result), scenario.speed, time_scale(scenario))
    return [complaint] if complaint else []


def _faults(result: HostResult) -> list[str]:
    """What plug-ins did that no plug-in should: each kind once."""
    raised = dict.fromkeys(one.reason for one in result.outcomes if one.reason.startswith(RAISED))
    return [*raised, *_slow(result.outcomes), *_floods(result.outcomes)]


def _slow(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Launches that the scheme never decided."""
    waiting = [one for one in outcomes if one.reason.startswith(WAITED_FOR)]
    if waiting:
        yield f"{len(waiting)} launches undecided at the end; order {waiting[0].order}: {waiting[0].reason}"


def _floods(outcomes: Sequence[Outcome]) -> Iterator[str]:
    most = max(outcomes, key=lambda one: one.hypercalls, default=None)
    if most is not None and most.hypercalls > FLOOD:
        yield f"a flood: {most.hypercalls:,} hypercalls for order {most.order} alone"


def summary_of(repeats: list[HostResult]) -> tuple[SchemeSummary, Endings]:
    """One scheme's figures."""
    return _scheme_summary(repeats), _endings(repeats)


def _endings(repeats: list[HostResult]) -> Endings:
    verdicts = [one.verdict for result in repeats for one in fold(result.ordered_at, result.outcomes)]
    unsettled = (Verdict.UNSETTLED, Verdict.UNANSWERED)
    return Endings(verdicts.count(Verdict.BUILT), sum(verdict in unsettled for verdict in verdicts))


def _scheme_summary(repeats: list[HostResult]) -> SchemeSummary:
    launches: list[Launch] = []
    for result in repeats:
        launches += fold(result.ordered_at, result.outcomes)
    reports = [report for result in repeats for report in result.reports]
    leftovers = [line for result in repeats for line in result.leftovers]
    return summarise(launches, reports, leftovers, memory_figures(repeats))
