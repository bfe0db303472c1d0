"""What a command that ran a scenario prints at its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

from launch.judge.report import RunJudgement
from launch.summary import Report
from launch.tables import remarks, rich_table


def show(report: Report, folder: Path | None, json: bool, judgement: RunJudgement | None = None) -> None:
    """The table and its remarks, or the JSON document; then the judge's, and where the evidence lies."""
    if json:
        sys.stdout.buffer.write(report.summary.to_json())
        sys.stdout.flush()
        return
    console = Console(highlight=False)
    console.print(rich_table(report))
    for line in remarks(report):
        console.print(line, markup=False)
    if judgement is not None:
        console.print(judgement.table())
    if folder is not None:
        console.print(str(folder), markup=False, soft_wrap=True)


def leave(report: Report) -> NoReturn:
    """Exit code 0 for a valid run, 1 for an invalid one."""
    raise typer.Exit(0 if report.summary.valid else 1)
