"""`claimlab debate`: the seed's argument, answered with measurements."""

from __future__ import annotations

import json as codec
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from launch.commands.options import JsonOption
from launch.debate.cells import cells_of
from launch.debate.confirm import confirm
from launch.debate.experiment import Experiment, experiment, experiments
from launch.debate.round_trip import round_trip
from launch.debate.run import Outcome, Setting, hold
from launch.debate.table import table

IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[H1 ...]", help="Hypotheses; without any, all of them.")
]
QuickOption = Annotated[bool, typer.Option("--quick", help="Fewer seeds and points: a rough answer.")]
ControlOption = Annotated[
    bool, typer.Option("--control", help="The control settings, whose verdicts must be other ones.")
]
SeedsOption = Annotated[int | None, typer.Option(min=1, metavar="N", help="Seeds of every point.")]
DelayOption = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        metavar="SECONDS",
        help="Delay of links, one way; otherwise half a round trip between processes, measured first.",
    ),
]
RealOption = Annotated[
    bool, typer.Option("--real", help="Confirm points of H3, H12 and H17 with real processes, in real time.")
]
JobsOption = Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes at a time.")]


def debate(
    ids: IdsArgument = None,
    quick: QuickOption = False,
    control: ControlOption = False,
    seeds: SeedsOption = None,
    jobs: JobsOption = None,
    delay: DelayOption = None,
    real: RealOption = False,
    json: JsonOption = False,
) -> None:
    """Run the hypotheses of the debate as experiments and say which hold; exit code 2 when one stays open."""
    wanted = [experiment(name) for name in ids] if ids else list(experiments())
    trip = round_trip() if delay is None else None
    one_way = delay if trip is None else trip / 2
    assert one_way is not None
    setting = Setting(
        quick=quick, control=control, delay=one_way, jobs=jobs or os.cpu_count() or 1, seeds=seeds
    )
    outcomes = _hold_all(wanted, setting)
    if real and not control:
        outcomes = [_confirmed(one) for one in outcomes]
    if json:
        links = {"delay_s": one_way, "measured": trip is not None}
        print(codec.dumps({"links": links, "verdicts": [one.as_json() for one in outcomes]}, indent=2))
    else:
        Console(highlight=False).print(table(outcomes))
    if control and any(one.known and not one.as_declared for one in outcomes):
        raise typer.Exit(1)
    raise typer.Exit(0 if all(one.known for one in outcomes) else 2)


def _confirmed(one: Outcome) -> Outcome:
    """With what real processes say of it; every run is announced on standard error."""
    console = Console(stderr=True, highlight=False)
    return replace(one, confirmation=confirm(one.experiment, one.finding, console.print))


def _hold_all(wanted: Sequence[Experiment], setting: Setting) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for one in wanted:
            total = len(
                list(
                    cells_of(
                        one,
                        quick=setting.quick,
                        control=setting.control,
                        delay=setting.delay,
                        seeds=setting.seeds,
                    )
                )
            )
            task = progress.add_task(f"{one.id} {one.title}", total=total)
            outcomes.append(hold(one, setting, partial(_advance, progress, task)))
    return outcomes


def _advance(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)
