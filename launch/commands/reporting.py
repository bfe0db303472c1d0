"""The page at the end of a run: what `claimlab run` and `claimlab simulate` do beside their own table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import typer

from launch.errors import UsageError
from launch.report.folder import read_run
from launch.report.write import write_report
from launch.results import Results

ReportOption: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--report/--no-report",
        help="Write report.html; by default without curves and diagrams if the journals are long.",
    ),
]


def reported(results: Results, report: bool | None, judged: bool, progress: Callable[[str], None]) -> None:
    """Write it; a run that was not judged is not replayed for it either, unless that was asked for."""
    if report is False:
        return
    replay = judged if report is None else report
    try:
        write_report([read_run(results.path, progress, replay=replay)])
    except UsageError as error:
        progress(f"no report: {error}")
        return
    if not replay:
        progress(f"report.html has no curves: claimlab report {results.path}")
