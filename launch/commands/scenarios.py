"""`claimlab scenarios`: the built-in ones."""

from __future__ import annotations

import json as codec

from rich.console import Console
from rich.table import Table

from launch.commands.options import JsonOption
from launch.scenario.document import built_in_names, parse, read_source


def scenarios(json: JsonOption = False) -> None:
    """List the built-in scenarios, a line each."""
    about = {name: _about(name) for name in built_in_names()}
    if json:
        print(
            codec.dumps(
                {"scenarios": [{"name": name, "about": text} for name, text in about.items()]}, indent=2
            )
        )
        return
    table = Table("name", "about")
    for name, text in about.items():
        table.add_row(name, text)
    Console(highlight=False).print(table)


def _about(name: str) -> str:
    return str(parse(read_source(name)).get("about", ""))
