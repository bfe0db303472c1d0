"""`claimlab check-toolstack -- CMD`: does a foreign toolstack keep the protocol?"""

from __future__ import annotations

import json as codec
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hypervisor.core.releases import RELEASES
from launch.commands.options import JsonOption
from launch.errors import UsageError
from launch.kit.stage import Setting
from launch.kit.verdict import Verdict, try_toolstack
from toolstack.builder.build import BUILDERS

CommandArgument = Annotated[
    list[str], typer.Argument(metavar="-- CMD", help="The toolstack; the access file's path is added to it.")
]
ReleaseOption = Annotated[str, typer.Option(help="Release of the hypervisor that it works on.")]
BuilderOption = Annotated[str, typer.Option(help="Builder that it is told to use.")]
PatienceOption = Annotated[float, typer.Option(metavar="S", min=0.1, help="Real seconds for one answer.")]
LogsOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Keeps its output and the journal; must not exist."),
]


def check_toolstack(
    command: CommandArgument,
    release: ReleaseOption = "4.17",
    builder: BuilderOption = "hvm-4.17",
    patience: PatienceOption = 20.0,
    out: LogsOption = None,
    json: JsonOption = False,
) -> None:
    """Start a foreign toolstack on a small host, give it orders, and tell its implementer what is wrong."""
    if release not in RELEASES:
        raise UsageError(f"--release {release}: not known: use one of {', '.join(RELEASES)}")
    if builder not in BUILDERS:
        raise UsageError(f"--builder {builder}: not known: use one of {', '.join(BUILDERS)}")
    folder = _folder(out)
    setting = Setting(command, release, builder, patience)
    console = Console(highlight=False, stderr=json)
    try:
        verdicts = try_toolstack(setting, folder, lambda verdict: _tell(console, verdict))
    except (UsageError, KeyboardInterrupt):
        if out is None:
            shutil.rmtree(folder, ignore_errors=True)  # ours, and nobody was told of it
        raise
    passed = all(verdict.passed for verdict in verdicts)
    if json:
        print(codec.dumps({"passed": passed, "trials": [one.as_json() for one in verdicts]}, indent=2))
    if passed and out is None:
        shutil.rmtree(folder)
    elif not passed:
        console.print(f"its output: {folder / 'toolstack.log'}", markup=False, soft_wrap=True)
    raise typer.Exit(0 if passed else 1)


def _folder(out: Path | None) -> Path:
    if out is None:
        return Path(tempfile.mkdtemp(prefix="check-toolstack-"))
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}: name a folder that does not exist with --out") from error
    return out


def _tell(console: Console, verdict: Verdict) -> None:
    word = "ok" if verdict.passed else "WRONG" if verdict.held else "not held"
    console.print(f"{word:9}{verdict.name}: {verdict.claim}", markup=False, soft_wrap=True)
    for fault in verdict.faults:
        console.print(f"         - {fault}", markup=False, soft_wrap=True)
