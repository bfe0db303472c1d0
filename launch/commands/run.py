"""`claimlab run`: rival schemes, one after the other, on one scenario."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from launch.cluster.run import check_run, run_scenario
from launch.commands.judging import JudgeOption, judged
from launch.commands.options import (
    JsonOption,
    MetricsAddressOption,
    MetricsOption,
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
from launch.judge.report import RunJudgement
from launch.live.attended import attended
from launch.live.metrics import LOOPBACK, Metrics, metrics_served
from launch.results import Results, open_results
from launch.scenario.load import Loaded, load_scenario
from launch.scenario.world import check_behaviour, check_traces
from launch.summary import Report
from launch.tables import markdown

LiveOption = Annotated[
    bool, typer.Option("--live", help="Show the run while it goes on, with keys to pause and to steer it.")
]


def run(
    scenario: ScenarioArgument = "default",
    scheme: SchemeOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    out: OutOption = None,
    judge: JudgeOption = None,
    report: ReportOption = None,
    live: LiveOption = False,
    metrics: MetricsOption = None,
    metrics_address: MetricsAddressOption = LOOPBACK,
    json: JsonOption = False,
) -> None:
    """Launch a cluster of guests, let toolstacks build domains under rival schemes, and say who was right."""
    loaded = load_scenario(scenario, sets or (), seed, scheme_names(scheme))
    check_traces(loaded)
    check_behaviour(loaded)
    check_run(loaded)
    results = open_results(loaded, out, datetime.now(UTC))
    summary, judgement = _run(loaded, results, judge, live, (metrics, metrics_address))
    progress = Console(stderr=True, highlight=False).print
    reported(results, report, judgement is not None, progress)
    show(summary, results.path, json, judgement)
    leave(summary)


def _run(
    loaded: Loaded, results: Results, judge: bool | None, live: bool, metrics: Metrics
) -> tuple[Report, RunJudgement | None]:
    """However it ends, `latest` is the run that was tried last; one that could not be had leaves nothing."""
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    worth_keeping = True
    try:
        with (
            metrics_served(results.path, *metrics) as url,
            attended(live, results.path, progress.print) as (steering, say),
        ):
            if url is not None:
                say(f"metrics: {url}")
            report = run_scenario(loaded, results, say, steering=steering)
        results.write_summary(report.summary.to_json(), markdown(report))
        judgement = judged(results, judge, progress.print)
        if judgement is not None:
            results.write_summary(report.summary.to_json(), markdown(report) + judgement.markdown())
        return report, judgement
    except UsageError:
        worth_keeping = results.has_outcomes()  # of the schemes before
        raise
    finally:
        if worth_keeping:
            results.link_latest()
        else:
            results.discard()
