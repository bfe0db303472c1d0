"""`claimlab clean`: remove what a killed run left."""

from __future__ import annotations

import json as codec
from pathlib import Path
from typing import Annotated

import typer

from launch.clean import clean_run, find_runs
from launch.commands.options import JsonOption
from launch.results import RUNS

RunsArgument = Annotated[
    Path | None, typer.Argument(metavar="RUNS", help="A run, or a folder of runs; without it runs/.")
]


def clean(runs: RunsArgument = None, json: JsonOption = False) -> None:
    """Stop the processes and remove the sockets of runs whose launcher was killed. Results stay."""
    found = [] if runs is None and not RUNS.is_dir() else find_runs(runs or RUNS)
    lines = [line for run in found for line in clean_run(run)]
    if json:
        print(codec.dumps({"runs": len(found), "cleaned": lines}, indent=2))
        return
    for line in lines or ["nothing is left behind"]:
        print(line)
