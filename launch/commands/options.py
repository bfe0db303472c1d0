"""Options that more than one command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from launch.scenario.document import built_in_names
from toolstack.registry import known_schemes


def _scenario_names(incomplete: str) -> list[str]:
    """For the shell: built-in names; files complete by themselves where none fits."""
    return [name for name in built_in_names() if name.startswith(incomplete)]


def _scheme_lists(incomplete: str) -> list[str]:
    """For the shell: the last name of a list A,B."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in known_schemes() if name.startswith(last)]


ScenarioArgument: TypeAlias = Annotated[
    str,
    typer.Argument(help="A scenario file, or the name of a built-in one.", autocompletion=_scenario_names),
]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key: --set guests.count=40 (any number of times)."
    ),
]
SeedOption: TypeAlias = Annotated[int | None, typer.Option(help="Seed of every random stream.")]
OutOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of this run; `run` makes one in runs/ without it.")
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, progress on standard error.")
]
SchemeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--scheme",
        metavar="A,B",
        help="Schemes to run, instead of the scenario's.",
        autocompletion=_scheme_lists,
    ),
]
MetricsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--metrics", metavar="PORT", min=0, max=65535, help="Serve Prometheus text; 0 is a free port."
    ),
]
MetricsAddressOption: TypeAlias = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Where --metrics listens.", show_default=True)
]


def scheme_names(scheme: str | None) -> list[str] | None:
    """The names in a --scheme; None when it was not given."""
    return None if scheme is None else [name.strip() for name in scheme.split(",")]
