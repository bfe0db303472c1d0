"""A whole `claimlab run`: every scheme and repeat, one after the other, on one host each."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from hypervisor.public.orders import RAISED, WAITED_FOR, Outcome
from hypervisor.transport import EndpointError
from launch.attribution import attributions
from launch.cluster.arrivals import plan_arrivals
from launch.cluster.crew import Crew
from launch.cluster.host_run import HostPlan, HostResult, HostRun, PartyLostError, Plugins
from launch.cluster.plans import plan_guests
from launch.cluster.toolstacks import FOREIGN
from launch.errors import UsageError
from launch.launches import Launch, Verdict, fold
from launch.results import SOCKETS_PREFIX, Results
from launch.scenario.complaints import Fault
from launch.scenario.load import Loaded
from launch.scenario.models import Scenario
from launch.scenario.world import check_schemes, ensure_descriptors, parties
from launch.summary import Endings, Report, SchemeSummary, Summary, summarise
from toolstack.registry import SchemeError, known_schemes, make_scheme, objection, scheme_class

Progress = Callable[[str], None]
NO_PLUGINS: Final = Plugins()
FLOOD: Final = 100_000
"""Hypercalls for one launch beyond which the summary says so: a sweep over 1,000 domains takes 4,000."""


def check_run(loaded: Loaded, plugins: Plugins = NO_PLUGINS) -> None:
    """What must hold before a folder is made: schemes, their parameters, file descriptors."""
    scenario = loaded.scenario
    check_schemes(loaded, (*known_schemes(), FOREIGN, *plugins.schemes), _objection)
    for scheme in scenario.schemes:
        if scheme == FOREIGN or scheme in plugins.schemes:
            continue
        try:
            made = make_scheme(scheme, scenario.scheme.get(scheme, {}))
        except SchemeError as error:
            raise loaded.error(Fault(("scheme", scheme), str(error))) from error
        reason = objection(made, scenario.release)
        if reason is not None:
            fault = f'release {scenario.release} cannot carry "{scheme}" with these parameters: {reason}'
            raise loaded.error(Fault(("scheme", scheme), fault))
    ensure_descriptors(parties(scenario, len(plan_arrivals(scenario, 1))))


def _objection(scheme: str, release: str) -> str | None:
    try:
        return objection(scheme_class(scheme), release)
    except SchemeError:
        return None  # make_scheme says it better


def run_scenario(
    loaded: Loaded, results: Results, progress: Progress, plugins: Plugins = NO_PLUGINS
) -> Report:
    """Run it all and fold it into one report. `progress` gets a line for each stage.

    `plugins` are scheme and behaviour classes by the names that the scenario uses; dill carries them to their
    processes, so they may be defined in a notebook. UsageError for what the user can put right.
    """
    scenario = loaded.scenario
    plans = [
        HostPlan(scenario, repeat, plan_guests(scenario, repeat), plan_arrivals(scenario, repeat), plugins)
        for repeat in range(1, scenario.repeats + 1)
    ]
    finished: dict[str, list[HostResult]] = {}
    for scheme in scenario.schemes:
        for plan in plans:
            progress(_announcement(scenario, scheme, plan))
            result = _run_one(plan, scheme, results, progress)
            finished.setdefault(scheme, []).append(result)
            progress(f"  {_outcome_line(result)}")
    return _report(scenario, finished)


def _announcement(scenario: Scenario, scheme: str, plan: HostPlan) -> str:
    seconds = scenario.duration / scenario.speed
    return (
        f"{scheme} (repeat {plan.repeat} of {scenario.repeats}): {len(plan.guests)} guests, "
        f"{len(plan.arrivals)} launches, {scenario.duration:g} emulated s, about {seconds:.0f} s"
    )


def _outcome_line(result: HostResult) -> str:
    launches = fold(result.ordered_at, result.outcomes)
    counted: dict[str, int] = {}
    for launch in launches:
        counted[launch.verdict.value] = counted.get(launch.verdict.value, 0) + 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counted.items()) or "no launches"


def _run_one(plan: HostPlan, scheme: str, results: Results, say: Progress) -> HostResult:
    folder = results.host_directory(scheme, plan.repeat, plan.scenario.host.name)
    sockets = Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX))
    try:
        results.record_sockets(sockets)
        with Crew(folder, results.record_process) as crew:
            run = HostRun(plan, scheme, folder, sockets, crew, say)
            try:
                return run.run()
            except PartyLostError as lost:
                return run.cut_short(str(lost))
    except EndpointError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise  # a fault of our own
        raise UsageError(f"{folder}: {error.strerror}: make room, or choose another --out") from error
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _report(scenario: Scenario, finished: dict[str, list[HostResult]]) -> Report:
    every = [(scheme, result) for scheme, repeats in finished.items() for result in repeats]
    violations = tuple(f"{scheme}: {line}" for scheme, result in every for line in result.violations)
    trips = [result.round_trip for _, result in every if result.round_trip is not None]
    notes = [f"{scheme}: {line}" for scheme, result in every for line in (*result.notes, *_faults(result))]
    return Report(
        scenario=scenario.name,
        summary=Summary(
            valid=not violations,
            seed=scenario.seed,
            release=scenario.release,
            speed=scenario.speed,
            schemes={scheme: _scheme_summary(repeats) for scheme, repeats in finished.items()},
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
    return summarise(launches, reports, leftovers)
