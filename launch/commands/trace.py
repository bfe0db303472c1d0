"""`claimlab trace`: a run as a trace for Perfetto and chrome://tracing."""

from __future__ import annotations

import json as codec
from pathlib import Path
from typing import Annotated

import typer

from launch.check.run import tell
from launch.commands.options import JsonOption
from launch.report.folder import read_run
from launch.trace.write import write_trace

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="What claimlab run left, or the folder of one host in it.")
]
FileOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The trace; without it, trace.json in the run.")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Hosts replayed at a time; as many as there are cpus.")
]


def trace(
    run: RunArgument, out: FileOption = None, jobs: JobsOption = None, json: JsonOption = False
) -> None:
    """Write trace.json: hypercalls, claims, clamps and refusals as slices, with arrows to the commits."""
    written = write_trace(read_run(run, tell, judge=False, jobs=jobs), out)
    print(codec.dumps({"trace": str(written)}) if json else written)
