"""Page and trace at the end of a run: what `claimlab run` and `simulate` leave beside their table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import typer

from launch.errors import UsageError
from launch.report.folder import read_run
from launch.report.write import write_report
from launch.results import Results
from launch.trace.write import write_trace

ReportOption: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--report/--no-report",
        help="Write report.html and trace.json; if the journals are long, only the tables of the page.",
    ),
]


def reported(results: Results, report: bool | None, judged: bool, progress: Callable[[str], None]) -> None:
    """Write both; a run that was not judged is not replayed for it either, unless that was asked for."""
    if report is False:
        return
    replay = judged if report is None else report
    try:
        run = read_run(results.path, progress, replay=replay)
        write_report([run])
        if replay:
            write_trace(run)
    except UsageError as error:
        progress(f"no report: {error}")
        return
    if not replay:
        progress(f"report.html has no curves, the journals are long: claimlab report {results.path}")
