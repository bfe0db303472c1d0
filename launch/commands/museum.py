"""`claimlab museum`: historic bugs, each red with its switch and green without."""

from __future__ import annotations

import json as codec
from typing import Annotated

import typer
from rich.console import Console

from launch.commands.options import JsonOption
from launch.explore.interleaving import rich_table
from launch.museum.catalogue import EXHIBITS, chosen
from launch.museum.exhibit import Exhibit
from launch.museum.report import Report, above, below, listing, listing_as_json
from launch.museum.tour import Shown, show

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Of {', '.join(EXHIBITS)}.")
]
ListOption = Annotated[bool, typer.Option("--list", help="Say what there is, and run nothing.")]


def museum(names: NamesArgument = None, list_: ListOption = False, json: JsonOption = False) -> None:
    """Show historic bugs: 0 when each is red with its switch and green without, 1 otherwise."""
    exhibits = chosen(names or ())
    if list_:
        _list(exhibits, json)
        return
    report = Report([show(one) for one in exhibits])
    if json:
        print(codec.dumps(report.as_json(), indent=2))
    elif names:
        for one in report.shown:
            _print(one)
    else:
        _console().print(report.table())
        for line in report.last_lines():
            print(line)
    raise typer.Exit(report.exit_code)


def _list(exhibits: tuple[Exhibit, ...], json: bool) -> None:
    if json:
        print(codec.dumps(listing_as_json(exhibits), indent=2))
    else:
        _console().print(listing(exhibits))


def _print(shown: Shown) -> None:
    for line in above(shown.exhibit):
        print(line)
    _console().print(rich_table(shown.rows))
    for line in below(shown):
        print(line)


def _console() -> Console:
    return Console(highlight=False)
