"""`claimlab shell`: xl on a cluster that runs."""

from __future__ import annotations

import json as codec
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from hypervisor.transport import EndpointError
from launch.cluster.control import Control
from launch.commands.options import JsonOption
from launch.errors import UsageError
from launch.live.attach import attach
from launch.live.shell.answer import CommandFailedError, Shown
from launch.live.shell.loop import Shell
from launch.live.shell.table import carry_out, summaries

TargetArgument = Annotated[
    str | None,
    typer.Argument(metavar="RUN|ADDRESS", help="Folder of what runs, or a toolstacks' address."),
]
CommandOption = Annotated[
    list[str] | None, typer.Option("--command", "-c", help="Carry this out and leave (any number of times).")
]
HostOption = Annotated[str | None, typer.Option(help="Which host, where several run.")]
SecretOption = Annotated[
    Path | None, typer.Option("--secret-file", metavar="FILE", help="The control secret, for an ADDRESS.")
]


def shell(
    target: TargetArgument = None,
    command: CommandOption = None,
    host: HostOption = None,
    secret_file: SecretOption = None,
    json: JsonOption = False,
) -> None:
    """Attach to a running cluster: list, info, claims, mem-set, create, destroy and more, as xl has them."""
    name, control = attach(target, host, secret_file)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C ends the shell, and nothing else
    try:
        if command is None:
            _loop(control, name, _printer(json))
        for line in command or ():
            _one_shot(control, line, json)
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    except EndpointError as error:
        raise UsageError(str(error)) from error


def _loop(control: Control, name: str, show: Callable[[Shown], None]) -> None:
    """Until the user leaves. Piped commands are all carried out, and 1 says that one failed."""
    asked = sys.stdin.isatty()  # whoever pipes commands in wants answers only
    shell = Shell(control, f"{name}> " if asked else "", show)
    shell.cmdloop()
    if shell.failed and not asked:
        raise typer.Exit(1)


def _one_shot(control: Control, line: str, json: bool) -> None:
    if not line.strip():
        raise UsageError('-c "": nothing to do: name a command, -c list')
    try:
        help_only = line.split(maxsplit=1)[0] == "help"
        _printer(json)(Shown(tuple(summaries())) if help_only else carry_out(control, line))
    except CommandFailedError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error


def _printer(json: bool) -> Callable[[Shown], None]:
    return _print_document if json else _print_lines


def _print_document(shown: Shown) -> None:
    print(codec.dumps(shown.document, indent=2))


def _print_lines(shown: Shown) -> None:
    for line in shown.lines:
        print(line)
