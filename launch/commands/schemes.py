"""`claimlab schemes`: who proposed what, how many lines it takes, and what can be chosen."""

from __future__ import annotations

import json as codec
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from launch.commands.options import JsonOption
from launch.errors import UsageError
from launch.schemes import SchemeFacts, all_facts
from toolstack.registry import SchemeError


def schemes(json: JsonOption = False) -> None:
    """List the schemes: origin, code lines (counted now, from their source), parameters, releases."""
    try:
        found = all_facts()
    except SchemeError as error:
        raise UsageError(str(error)) from error
    if json:
        print(codec.dumps({"schemes": [asdict(one) for one in found]}, indent=2))
        return
    table = Table("scheme", "origin", "code lines", "with helpers", "parameters and defaults", "releases")
    for column in table.columns:
        column.overflow = "fold"
    for one in found:
        table.add_row(*_row(one))
    console = Console(highlight=False)
    console.print(table)
    console.print("What the parameters mean, and the ranges worth trying: claimlab schemes --json")


def _row(one: SchemeFacts) -> tuple[str, ...]:
    chosen = ", ".join(f"{each.name} = {codec.dumps(each.default)}" for each in one.parameters)
    lines = (str(one.code_lines), str(one.code_lines_with_helpers))
    return (one.name, one.origin, *lines, chosen or "none", ", ".join(one.releases) or "all")
