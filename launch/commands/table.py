"""The commands of `claimlab`, each imported when it is asked for.

A plot library or a terminal toolkit that one command needs must not slow down the others, nor sit in the
memory of a thousand guest processes, which import the command line of whoever started them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperGroup

COMMANDS: Final = MappingProxyType(
    {
        "run": "launch.commands.run",
        "simulate": "launch.commands.simulate",
        "serve": "launch.commands.serve",
        "shell": "launch.commands.shell",
        "scenarios": "launch.commands.scenarios",
        "schemes": "launch.commands.schemes",
        "clean": "launch.commands.clean",
        "debate": "launch.commands.debate",
        "check": "launch.commands.check",
        "judge": "launch.commands.judge",
        "report": "launch.commands.report",
        "trace": "launch.commands.trace",
        "compare": "launch.commands.compare",
        "check-toolstack": "launch.commands.check_toolstack",
        "conform": "launch.commands.conform",
        "explore": "launch.commands.explore",
        "museum": "launch.commands.museum",
        "reproduce": "launch.commands.reproduce",
    }
)
"""Name, and the module whose function of that name (hyphens become underscores) is the command."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A word that the shell may complete to, as typer's completion classes want it."""

    value: str
    help: str | None = None
    type: str = "plain"


class CommandTable(TyperGroup):
    """The group of all commands, in the order of the table."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names from the table: to complete `claimlab ru` no command need be imported."""
        names = [Completion(name) for name in COMMANDS if name.startswith(incomplete)]
        return [*names, *super(TyperGroup, self).shell_complete(ctx, incomplete)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        one = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        one.command(cmd_name)(getattr(import_module(module), cmd_name.replace("-", "_")))
        return typer.main.get_command(one)
