"""`claimlab conform`: recordings of a real Xen against the core."""

from __future__ import annotations

import json as codec
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from launch.commands.options import JsonOption
from launch.conform.conform import conform_files
from launch.conform.text import report_text

FilesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Recordings, plain or .gz, or folders of them.")
]
ReleaseOption = Annotated[
    str | None, typer.Option(metavar="RELEASE", help="Preset to use, instead of what the file's header says.")
]


def conform(files: FilesArgument, release: ReleaseOption = None, json: JsonOption = False) -> None:
    """Replay recordings of a real Xen and count the operations that the core answers otherwise."""
    report = conform_files(files, release, jobs=os.cpu_count() or 1, progress=_tell)
    for line in report.refused:
        _tell(line)
    if json:
        print(codec.dumps(report.as_json(), indent=2))
    elif report.files:
        print(report_text(report))
    raise typer.Exit(report.exit_code)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
