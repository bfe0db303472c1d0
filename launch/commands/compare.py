"""`claimlab compare`: rival schemes on the same seeds, with effect sizes and intervals."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from launch.cluster.run import check_run
from launch.commands.options import (
    JsonOption,
    OutOption,
    ScenarioArgument,
    SchemeOption,
    SeedOption,
    SetOption,
    scheme_names,
)
from launch.compare.choice import Choice, parse_choice
from launch.compare.folder import open_comparison
from launch.compare.report import TOO_FEW, Comparison
from launch.compare.run import DOCUMENT, compare_variants
from launch.compare.variants import Variant, parse_sweeps, said_of_the_sweep, variants
from launch.errors import UsageError
from launch.scenario.load import load_scenario
from launch.scenario.world import check_behaviour, check_traces
from launch.simulate.run import check_simulation

SweepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="KEY=V,V",
        help="Compare every value, as scheme.clamp.cuts=equal,proportional; documented: those worth trying.",
    ),
]
RepeatsOption = Annotated[int, typer.Option(min=1, metavar="N", help="Repeats, each with seeds of its own.")]
JobsOption = Annotated[str, typer.Option(metavar="N", help="Cells run at a time; auto is as many as cpus.")]
RealOption = Annotated[bool, typer.Option("--real", help="With real processes, one cell at a time.")]
BestOption = Annotated[
    str | None,
    typer.Option(
        "--best",
        metavar="FIGURE",
        help="Show each scheme at its best setting by this figure (highest:FIGURE or lowest:FIGURE).",
    ),
]


def compare(
    scenario: ScenarioArgument = "default",
    scheme: SchemeOption = None,
    repeats: RepeatsOption = 20,
    jobs: JobsOption = "auto",
    sweep: SweepOption = None,
    best: BestOption = None,
    real: RealOption = False,
    seed: SeedOption = None,
    sets: SetOption = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Compare schemes in virtual time, or for real. A second call goes on where one was interrupted."""
    base = load_scenario(scenario, sets or (), seed, scheme_names(scheme))
    sweeps = parse_sweeps(sweep or (), base.scenario.schemes)
    found = variants(scenario, sets or (), seed, base.scenario.schemes, sweeps)
    for one in found:
        _check(one, real)
    workers = _workers(jobs)
    choice = None if best is None else _choice(best, repeats)
    folder = open_comparison(base, out, real)
    with _progress() as bar:
        task = bar.add_task("", total=repeats * len(found))
        comparison = compare_variants(
            folder,
            found,
            repeats,
            jobs=workers,
            real=real,
            advance=lambda text: bar.update(task, advance=1, description=text),
        )
    shown = comparison if choice is None else _best(comparison, choice)
    if choice is not None and not json:
        Console(highlight=False).print(comparison.settings(choice))
    _show(shown, json)
    if not json:
        print(folder / DOCUMENT)
    if not comparison.valid:
        raise typer.Exit(1)
    raise typer.Exit(2 if comparison.distrusted else 0)


def _check(variant: Variant, real: bool) -> None:
    with said_of_the_sweep(variant.settings):
        check_traces(variant.loaded)
        check_behaviour(variant.loaded)
        (check_run if real else check_simulation)(variant.loaded)


def _workers(jobs: str) -> int:
    if jobs == "auto":
        return os.cpu_count() or 1
    if not jobs.isdecimal() or not int(jobs):
        raise UsageError(f"--jobs {jobs}: give a number from 1 on, or auto")
    return int(jobs)


def _choice(text: str, repeats: int) -> Choice:
    """A typing error is told before the first cell is run, as far as it can be."""
    if repeats < 2:
        raise UsageError(TOO_FEW)
    return parse_choice(text)


def _best(comparison: Comparison, choice: Choice) -> Comparison:
    if choice.figure not in comparison.figures():
        raise UsageError(f"--best {choice.figure}: no cell has it: one of {', '.join(comparison.figures())}")
    return comparison.best(choice)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _show(comparison: Comparison, json: bool) -> None:
    if json:
        sys.stdout.buffer.write(comparison.to_json())
        sys.stdout.flush()
        return
    console = Console(highlight=False)
    for table in comparison.tables(console):
        console.print(table)
    for line in comparison.violations():
        console.print(f"violation: {line}", markup=False)
    for line in comparison.distrusted:
        console.print(f"not used: {line}", markup=False)
    if comparison.distrusted:
        console.print("the same command runs these cells once more")
