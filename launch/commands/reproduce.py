"""`claimlab reproduce`: a race of real processes, rebuilt in a small world and made as small as it can be."""

from __future__ import annotations

import json as codec
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console

from launch.check.run import tell
from launch.commands.options import JsonOption
from launch.errors import UsageError
from launch.explore.interleaving import rich_table
from launch.explore.options import read_budget
from launch.explore.search import Budget
from launch.judge.run import judge_run_folder
from launch.reproduce.evidence import host_folder, host_in
from launch.reproduce.fold import folded
from launch.reproduce.report import Report, list_lines
from launch.reproduce.reproduce import replay, saved_of
from launch.reproduce.reproduce import reproduce as rebuild_and_shrink
from launch.reproduce.saved import load, save
from launch.reproduce.witness import Witness, witnesses

RunArgument = Annotated[
    Path | None,
    typer.Argument(metavar="RUN", help="What claimlab run left, or the folder of one host in it."),
]
WitnessOption = Annotated[int, typer.Option(min=1, metavar="N", help="Which wrong of the list; the first.")]
ListOption = Annotated[bool, typer.Option("--list", help="List the wrongs and end.")]
BudgetOption = Annotated[
    str, typer.Option(help="Seconds (60s) or replays (500) after which to show the smallest so far.")
]
OutOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Instead of RUN/reproduced-N.json.")]
ReplayOption = Annotated[
    Path | None, typer.Option("--replay", metavar="FILE", help="Show again what FILE keeps.")
]

SchemeOption = Annotated[
    str | None,
    typer.Option(metavar="MODULE:CLASS", help="Import this scheme, if it is the one that ran."),
]


def reproduce(
    run: RunArgument = None,
    witness: WitnessOption = 1,
    list_: ListOption = False,
    budget: BudgetOption = "60s",
    out: OutOption = None,
    replay_: ReplayOption = None,
    scheme: SchemeOption = None,
    json: JsonOption = False,
) -> None:
    """Rebuild what the judge found wrong in a run: 1 reproduced, 0 harmless, 2 cannot be told."""
    if replay_ is not None:
        _replay(replay_, run, scheme, json)
        return
    if run is None:
        raise UsageError("name a run: claimlab reproduce RUN, or --replay FILE")
    limit = read_budget(budget)
    found = witnesses(judge_run_folder(run, os.cpu_count() or 1, tell), run)
    if witness > max(len(found), 1):
        cure = f"name one from 1 to {len(found)}, --list shows them" if found else "this run has none at all"
        raise UsageError(f"--witness {witness}: {cure}")
    if list_ or not found:
        _list(found, json)
        return
    one = found[witness - 1]
    reproduced = rebuild_and_shrink(host_folder(host_in(run, one.host), scheme), one, _spent(limit))
    file = None
    if reproduced.small is not None:
        file = out or run / f"reproduced-{witness}.json"
        save(file, saved_of(one, reproduced))
    _show(Report(one, reproduced, file), json)


def _spent(limit: Budget) -> Callable[[int], bool]:
    """Whether so many replays, or the time since now, are all there was; replays are the same everywhere."""
    ends = None if limit.seconds is None else monotonic() + limit.seconds

    def spent(replays: int) -> bool:
        if ends is not None:
            return monotonic() > ends
        return limit.schedules is not None and replays >= limit.schedules

    return spent


def _list(found: tuple[Witness, ...], json: bool) -> None:
    if json:
        print(codec.dumps({"witnesses": [one.as_json() for one in found]}, indent=2))
        return
    for line in list_lines(found):
        print(line)


def _replay(file: Path, run: Path | None, scheme: str | None, json: bool) -> None:
    saved = load(file)
    reproduced = replay(run or file.resolve().parent, saved, scheme)
    _show(Report(saved.witness, reproduced, file, saved), json)


def _show(report: Report, json: bool) -> None:
    if json:
        print(codec.dumps(report.as_json(), indent=2))
    else:
        print(report.title)
        if report.reproduced.rows:
            Console().print(rich_table(tuple(folded(report.reproduced.rows))))
        for line in report.lines():
            print(line)
    raise typer.Exit(report.exit_code)
