"""`claimlab serve`: the hypervisor alone, for guests and toolstacks in any language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from launch.commands.options import (
    JsonOption,
    MetricsAddressOption,
    MetricsOption,
    ScenarioArgument,
    SetOption,
)
from launch.live.metrics import LOOPBACK
from launch.scenario.load import load_scenario
from launch.serve import serve as serve_host

DirectoryOption = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Folder of the ipc sockets and the journal (made, mode 0700)."),
]
TcpOption = Annotated[
    str | None,
    typer.Option(metavar="HOST", help="Listen on TCP at this address instead of ipc; ports are printed."),
]


def serve(
    scenario: ScenarioArgument = "default",
    sets: SetOption = None,
    directory: DirectoryOption = None,
    tcp: TcpOption = None,
    metrics: MetricsOption = None,
    metrics_address: MetricsAddressOption = LOOPBACK,
    json: JsonOption = False,
) -> None:
    """Run the hypervisor of a scenario's table host until it is interrupted; guests and arrivals stay out."""
    # A host needs no launches, whatever the scenario would have wanted from the command line for them.
    loaded = load_scenario(scenario, [*(sets or ()), *_NOBODY_ELSE])
    raise typer.Exit(serve_host(loaded, directory, tcp, json, (metrics, metrics_address)))


_NOBODY_ELSE = ("guests={count=0}", "arrivals={count=0}")
