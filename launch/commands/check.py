"""`claimlab check`: does the evidence of a run hold?"""

from __future__ import annotations

import json as codec
import os
from pathlib import Path
from typing import Annotated

import typer

from launch.check.run import check_run_folder
from launch.commands.options import JsonOption

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="What claimlab run left, or the folder of one host in it.")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Hosts checked at a time; as many as there are cpus.")
]


def check(run: RunArgument, jobs: JobsOption = None, json: JsonOption = False) -> None:
    """Replay a run's journals, check every invariant at every step, and hold the histories against them."""
    report = check_run_folder(run, jobs or os.cpu_count() or 1)
    if json:
        print(codec.dumps(report.as_json(), indent=2))
    else:
        for line in report.lines():
            print(line)
    raise typer.Exit(report.exit_code)
