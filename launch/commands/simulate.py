"""`claimlab simulate`: what `claimlab run` does, in virtual time and without processes."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from launch.cluster.rounds import Progress
from launch.commands.judging import JudgeOption, judged
from launch.commands.options import (
    JsonOption,
    OutOption,
    ScenarioArgument,
    SchemeOption,
    SeedOption,
    SetOption,
    scheme_names,
)
from launch.commands.reporting import ReportOption, reported
from launch.commands.showing import leave, show
from launch.errors import UsageError
from launch.results import Results, open_results
from launch.scenario.load import Loaded, load_scenario
from launch.scenario.world import check_behaviour, check_traces
from launch.simulate.run import check_simulation, simulate_scenario
from launch.summary import Report
from launch.tables import markdown


def simulate(
    scenario: ScenarioArgument = "default",
    scheme: SchemeOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    out: OutOption = None,
    judge: JudgeOption = None,
    report: ReportOption = None,
    json: JsonOption = False,
) -> None:
    """Run a scenario in virtual time: the same parties in one thread. The same seed gives the same run.

    Nothing is left behind without --out.
    """
    loaded = load_scenario(scenario, sets or (), seed, scheme_names(scheme))
    check_traces(loaded)
    check_behaviour(loaded)
    check_simulation(loaded)
    results = None if out is None else open_results(loaded, out, datetime.now(UTC))
    progress = Console(stderr=True, highlight=False).print
    summary = _simulate(loaded, results, progress)
    judgement = None
    if results is not None:
        judgement = judged(results, judge, progress)
        reported(results, report, judgement is not None, progress)
    show(summary, None if results is None else results.path, json, judgement)
    leave(summary)


def _simulate(loaded: Loaded, results: Results | None, progress: Progress) -> Report:
    try:
        report = simulate_scenario(loaded, results, progress)
    except UsageError:
        if results is not None:
            results.discard()
        raise
    if results is not None:
        results.write_summary(report.summary.to_json(), markdown(report))
        results.link_latest()
    return report
