"""`claimlab run`: rival schemes, one after the other, on one scenario."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from launch.cluster.run import check_run, run_scenario
from launch.commands.options import JsonOption, OutOption, ScenarioArgument, SeedOption, SetOption
from launch.errors import UsageError
from launch.results import Results, open_results
from launch.scenario.load import Loaded, load_scenario
from launch.scenario.world import check_behaviour, check_traces
from launch.summary import Report
from launch.tables import markdown, remarks, rich_table

SchemeOption = Annotated[
    str | None, typer.Option("--scheme", metavar="A,B", help="Schemes to run, instead of the scenario's.")
]


def run(
    scenario: ScenarioArgument = "default",
    scheme: SchemeOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Launch a cluster of guests, let toolstacks build domains under rival schemes, and say who was right."""
    schemes = None if scheme is None else [name.strip() for name in scheme.split(",")]
    loaded = load_scenario(scenario, sets or (), seed, schemes)
    check_traces(loaded)
    check_behaviour(loaded)
    check_run(loaded)
    results = open_results(loaded, out, datetime.now(UTC))
    report = _run(loaded, results)
    _show(report, results, json)
    raise typer.Exit(0 if report.summary.valid else 1)


def _run(loaded: Loaded, results: Results) -> Report:
    """However it ends, `latest` is the run that was tried last; one that could not be had leaves nothing."""
    progress = Console(stderr=True, highlight=False)
    worth_keeping = True
    try:
        report = run_scenario(loaded, results, progress.print)
        results.write_summary(report.summary.to_json(), markdown(report))
        return report
    except UsageError:
        worth_keeping = results.has_outcomes()  # of the schemes before
        raise
    finally:
        if worth_keeping:
            results.link_latest()
        else:
            results.discard()


def _show(report: Report, results: Results, json: bool) -> None:
    if json:
        sys.stdout.buffer.write(report.summary.to_json())
        sys.stdout.flush()
        return
    console = Console(highlight=False)
    console.print(rich_table(report))
    for line in remarks(report):
        console.print(line, markup=False)
    console.print(str(results.path), markup=False, soft_wrap=True)
