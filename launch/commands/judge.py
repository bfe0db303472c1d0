"""`claimlab judge`: who was right?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from launch.check.run import tell
from launch.commands.options import JsonOption
from launch.judge.run import judge_run_folder, to_document

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="What claimlab run left, or the folder of one host in it.")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Hosts judged at a time; as many as there are cpus.")
]


def judge(run: RunArgument, jobs: JobsOption = None, json: JsonOption = False) -> None:
    """Judge a run by its journals: false refusals, false grants, late failures, whose action hurt whom."""
    judgement = judge_run_folder(run, jobs or os.cpu_count() or 1, tell)
    if json:
        print(to_document(judgement).decode(), end="")
        return
    console = Console(highlight=False)
    console.print(judgement.table())
    for line in judgement.witnesses():
        console.print(line, markup=False, soft_wrap=True)
