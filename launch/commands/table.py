"""The commands of `claimlab`, each imported when it is run.

A plot library or a terminal toolkit that one command needs must not slow down the others or the list of them,
nor sit in the memory of a thousand guest processes, which import the command line of whoever started them.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

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
        """The command of that name as a list shows it, or None: its help is read, not imported."""
        module = COMMANDS.get(cmd_name)
        return None if module is None else TyperCommand(cmd_name, help=help_line(cmd_name, module))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is to run, imported; else what typer makes of an unknown one."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else imported(name), rest


def imported(name: str) -> Any:
    """The command of that name with its parameters. KeyError when there is none."""
    one = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    one.command(name)(getattr(import_module(COMMANDS[name]), _function(name)))
    return typer.main.get_command(one)


def help_line(name: str, module: str) -> str:
    """The first line of the docstring of a command's function."""
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, f"{name}: no module {module}"
    for statement in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == _function(name):
            return (ast.get_docstring(statement) or "").partition("\n")[0]
    raise AssertionError(f"{module} has no function {_function(name)}")


def _function(name: str) -> str:
    return name.replace("-", "_")
