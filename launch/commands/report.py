"""`claimlab report`: a run, or two against each other, as one page that opens from disk."""

from __future__ import annotations

import json as codec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from launch.check.run import tell
from launch.commands.options import JsonOption
from launch.errors import UsageError
from launch.report.figures import comparison
from launch.report.folder import read_run
from launch.report.write import write_report

RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN [OTHER]", help="What claimlab run left; two are compared.")
]
FileOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The page; without it, report.html in the run.")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Hosts replayed at a time; as many as there are cpus.")
]


def report(
    runs: RunsArgument, out: FileOption = None, jobs: JobsOption = None, json: JsonOption = False
) -> None:
    """Write report.html, one file without a network: verdict, schemes, memory over time, witnesses."""
    if len(runs) > 2:
        raise UsageError(f"{len(runs)} runs: give one, or two to compare")
    read = [read_run(run, tell, jobs=jobs) for run in runs]
    page = write_report(read, out)
    table = comparison(read)
    if json:
        print(codec.dumps({"page": str(page), **table.as_json()}, indent=2))
        return
    console = Console(highlight=False)
    console.print(table.table())
    console.print(str(page), markup=False, soft_wrap=True)
