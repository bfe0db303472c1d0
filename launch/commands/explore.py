"""`claimlab explore`: search the interleavings of a small world for one that breaks a promise."""

from __future__ import annotations

import json as codec
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console

from launch.commands.options import JsonOption, SetOption
from launch.explore.asked_schedule import ensure_named, ensure_taken
from launch.explore.blueprint import Blueprint
from launch.explore.catalogue import WORLDS
from launch.explore.interleaving import interleaving, rich_table
from launch.explore.options import asked, choose_scheduler, read_budget
from launch.explore.report import Report, Shown
from launch.explore.schedule import written
from launch.explore.schedulers import ReplayScheduler
from launch.explore.search import Finding
from launch.explore.search import explore as search
from launch.explore.shrink import Shrinker

WorldArgument = Annotated[str, typer.Argument(metavar="SCENARIO", help=f"One of {', '.join(WORLDS)}.")]
SchemeOption = Annotated[
    str | None, typer.Option(help="The scheme of its toolstacks, or a class of your own as module:Class.")
]
SchedulerOption = Annotated[
    str | None, typer.Option(help="exhaustive (unless said otherwise), pct, random or replay.")
]
SeedOption = Annotated[int, typer.Option(help="Of the random and pct schedulers.")]
DepthOption = Annotated[int, typer.Option(min=1, help="Of pct: moves whose order makes the bug.")]
BudgetOption = Annotated[str, typer.Option(help="Schedules (5000) or seconds (30s) after which to give up.")]
ScheduleOption = Annotated[str | None, typer.Option(help="Replay this one, a3.b.a2 say.")]
AllOption = Annotated[
    bool, typer.Option("--all", help="Go on after a violation, for every class of outcome.")
]


def explore(
    scenario: WorldArgument,
    scheme: SchemeOption = None,
    changes: SetOption = None,
    scheduler: SchedulerOption = None,
    seed: SeedOption = 1,
    depth: DepthOption = 3,
    budget: BudgetOption = "60s",
    schedule: ScheduleOption = None,
    all_: AllOption = False,
    json: JsonOption = False,
) -> None:
    """Search the interleavings of a small world: 1 violated, 0 exhausted and clean, 2 the budget ran out."""
    wanted = asked(scenario, scheme, changes or ())
    chosen = choose_scheduler(scheduler, seed, depth, schedule)
    limit = read_budget(budget)
    blueprint = wanted.blueprint()
    replayed = chosen.scheduler if isinstance(chosen.scheduler, ReplayScheduler) else None
    if replayed is not None:
        ensure_named(blueprint, replayed.turns, chosen.kept)
    found = search(blueprint, chosen.scheduler, limit, to_the_end=all_, kept=chosen.kept)
    if replayed is not None and replayed.replay is not None:
        ensure_taken(replayed.replay, replayed.turns, to_the_end=found.verdict == "exhausted")
    ends = None if limit.seconds is None else monotonic() + limit.seconds
    shown = None if found.finding is None else _shown(blueprint, found.finding, replayed is not None, ends)
    report = Report(wanted, chosen.name, found, shown, replayed=replayed is not None)
    if json:
        print(codec.dumps(report.as_json(), indent=2))
    else:
        _print(report)
    raise typer.Exit(report.exit_code)


def _shown(blueprint: Blueprint, finding: Finding, replayed: bool, ends: float | None) -> Shown:
    """A replay is shown as it is, everything else made small first, or smaller until then."""
    found_as = written(finding.turns, finding.kept)
    if replayed:
        return Shown(finding, interleaving(blueprint, finding.turns, finding.kept), found_as, 0)
    shrinker = Shrinker(blueprint, lambda: ends is not None and monotonic() > ends)
    small = shrinker.shrink(finding)
    return Shown(small, interleaving(blueprint, small.turns, small.kept), found_as, shrinker.replays)


def _print(report: Report) -> None:
    print(report.title)
    print(report.asked.world.about)
    if report.shown is not None:
        Console().print(rich_table(report.shown.rows))
    for line in report.lines():
        print(line)
