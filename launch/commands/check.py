"""`claimlab check`: does the evidence of a run hold?"""

from __future__ import annotations

import json as codec
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from launch.check.black_box_run import RunBlackBox, search_run_folder
from launch.check.report import RunReport
from launch.check.run import check_run_folder
from launch.commands.options import JsonOption
from launch.errors import UsageError

BUDGET: Final = 60.0
"""Seconds."""

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="What claimlab run left, or the folder of one host in it.")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Hosts checked at a time; as many as there are cpus.")
]


BlackBoxOption = Annotated[
    bool,
    typer.Option("--black-box", help="Search for an order that explains the histories, without commits."),
]
BudgetOption = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="SECONDS", help=f"Of a search, for each host; {BUDGET:.0f} unless said."),
]


def check(
    run: RunArgument,
    jobs: JobsOption = None,
    black_box: BlackBoxOption = False,
    budget: BudgetOption = None,
    json: JsonOption = False,
) -> None:
    """Replay a run's journals, check every invariant at every step, and hold the histories against them."""
    report: RunReport | RunBlackBox
    if black_box:
        report = search_run_folder(run, BUDGET if budget is None else budget)
    elif budget is not None:
        raise UsageError("--budget: a replay has none and goes to the end; --black-box searches within one")
    else:
        report = check_run_folder(run, jobs or os.cpu_count() or 1)
    if json:
        print(codec.dumps(report.as_json(), indent=2))
    else:
        for line in report.lines():
            print(line)
    raise typer.Exit(report.exit_code)
