"""One cell of a comparison: one variant, one repeat, run and judged. A finished cell is a file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from hypervisor.public.units import Seconds
from launch.arrivals.arrival import Arrival
from launch.cluster.arrivals import plan_arrivals
from launch.cluster.cluster_plan import plan_cluster
from launch.cluster.host_plan import HostPlan, HostResult, Plugins
from launch.cluster.plans import plan_guests
from launch.cluster.run import run_host, run_hosts
from launch.compare.variants import Variant
from launch.errors import UsageError
from launch.judge.build_time import planned_build_time
from launch.judge.evidence import files_evidence, folder_evidence, journal_stream
from launch.judge.figures import figures, flat
from launch.judge.judge import judge_stream
from launch.judge.verdict import HostJudgement
from launch.launches import Launch, Verdict, fold
from launch.over_hosts import OverHosts, over_hosts
from launch.results import Results
from launch.scenario.models import Scenario
from launch.scenario.scenes import host_names
from launch.simulate.host_run import VirtualResult, run_virtual
from launch.simulate.hosts_run import run_virtual_hosts
from launch.summary import summarise
from launch.trust import distrust, lags_of, time_scale

HARM: Final = "harm_pages"
FAILED_PAGES: Final = "failed_late_pages"
"""Of pages_discarded those that late failures threw away: not what a dismissal at the end of the run did."""
HARM_OF: Final = ("falsely_refused_pages", FAILED_PAGES, "pages_swapped")
"""What a decision can do wrong: launches falsely refused, builds thrown away, pages swapped."""
CELLS: Final = "cells"
OVER_HOSTS: Final = "over_hosts."
"""How figures over several hosts begin."""


class Cell(Struct, frozen=True, forbid_unknown_fields=True):
    """cells/<variant>/<repeat>.json."""

    variant: str
    repeat: int
    violations: tuple[str, ...]  # none in a valid cell
    figures: dict[str, float | None]
    distrust: str = ""
    """Why a real run's timings cannot be trusted (`launch.trust`): its figures are not used."""


_CELL: Final = msgspec.json.Decoder(Cell)


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is told."""

    out: Path
    variant: Variant
    repeat: int
    real: bool

    @property
    def path(self) -> Path:
        """The cell's file."""
        return self.out / CELLS / self.variant.folder / f"{self.repeat}.json"

    def finished(self) -> Cell | None:
        """The cell when it has been run before and can be trusted; UsageError when its file is none."""
        try:
            cell = _CELL.decode(self.path.read_bytes())
            return None if cell.distrust else cell
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise UsageError(f"{self.path}: no cell of a comparison: {error}: remove it") from error


def run_cell(task: Task, say: Callable[[str], None] = lambda _: None) -> Cell:
    """Run and judge it, and leave its file, whole or not at all."""
    ran = (_several if task.variant.loaded.scenario.hosts else _one)(task, say)
    violations = tuple(line for one in ran.results for line in one.violations)
    why = distrusted(task.variant.loaded.scenario, ran.results)
    cell = Cell(task.variant.name, task.repeat, violations, ran.figures(), why)
    task.path.parent.mkdir(parents=True, exist_ok=True)
    partial = task.path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(cell)) + b"\n")
    partial.replace(task.path)
    return cell


def distrusted(scenario: Scenario, results: Sequence[HostResult]) -> str:
    """The first reason; "" when there is none, and for virtual runs, which no load disturbs."""
    scale = time_scale(scenario)
    found = (distrust(lags_of(one), scenario.speed, scale) for one in results)
    return next((reason for reason in found if reason), "")


@dataclass(frozen=True, slots=True)
class _Ran:
    """What a cell is made from: one host, or several."""

    results: Sequence[HostResult]
    judgements: Sequence[HostJudgement]
    over_hosts: OverHosts | None = None

    def figures(self) -> dict[str, float | None]:
        """Every figure of summary and judge; those over several hosts as `over_hosts.NAME`."""
        launches = [launch for one in self.results for launch in fold(one.ordered_at, one.outcomes)]
        reports = [report for one in self.results for report in one.reports]
        leftovers = [line for one in self.results for line in one.leftovers]
        # Both know admitted and oom_kills, and mean the same by them; the judge rounds what it charges.
        found = {**flat(figures(self.judgements)), **flat(summarise(launches, reports, leftovers))}
        found |= harm_figures(found, launches)
        over = {} if self.over_hosts is None else flat(self.over_hosts)
        return {**found, **{f"{OVER_HOSTS}{name}": value for name, value in over.items()}}


def harm_figures(found: Mapping[str, float | None], launches: Iterable[Launch]) -> dict[str, float | None]:
    """FAILED_PAGES, and HARM where the judge's figures are among those found."""
    failed = float(sum(one.pages_discarded for one in launches if one.verdict is Verdict.FAILED_LATE))
    known = {**found, FAILED_PAGES: failed}
    if any(name not in known for name in HARM_OF):
        return {FAILED_PAGES: failed}
    return {FAILED_PAGES: failed, HARM: sum(known[name] or 0.0 for name in HARM_OF)}


def _build_time(scenario: Scenario, arrivals: Sequence[Arrival]) -> Seconds | None:
    return planned_build_time((one.pages for one in arrivals), scenario.toolstack.pages_per_second)


def _one(task: Task, say: Callable[[str], None]) -> _Ran:
    scenario, scheme = task.variant.loaded.scenario, task.variant.scheme
    guests, arrivals = plan_guests(scenario, task.repeat), plan_arrivals(scenario, task.repeat)
    plan = HostPlan(scenario, task.repeat, guests, arrivals)
    build_time = _build_time(scenario, arrivals)
    if not task.real:
        virtual = run_virtual(plan, scheme)
        return _Ran([virtual], [_judged(virtual, scheme, build_time)])
    results = Results(task.out / "runs" / task.variant.folder)
    folder = results.host_directory(scheme, plan.repeat, scenario.host.name)
    shutil.rmtree(folder)  # of an attempt that was interrupted
    result = run_host(plan, scheme, results, say)
    return _Ran([result], [_judged_folder(folder, scheme, build_time)])


def _several(task: Task, say: Callable[[str], None]) -> _Ran:
    scenario, scheme = task.variant.loaded.scenario, task.variant.scheme
    plan = plan_cluster(scenario, task.repeat, Plugins())
    build_time = _build_time(scenario, plan.arrivals)
    names = host_names(scenario)
    if task.real:
        results = Results(task.out / "runs" / task.variant.folder)
        folders = {name: results.host_directory(scheme, plan.repeat, name) for name in names}
        for folder in folders.values():
            shutil.rmtree(folder)  # of an attempt that was interrupted
        done = run_hosts(plan, scheme, results, say)
        judgements = [_judged_folder(folders[name], name, build_time) for name in names]
    else:
        done = run_virtual_hosts(plan, scheme)
        judgements = [_judged(one, name, build_time) for name, one in done.hosts.items()]
    return _Ran(list(done.each()), judgements, over_hosts([done.launches], names))


def _judged(result: HostResult, name: str, build_time: Seconds | None) -> HostJudgement:
    assert isinstance(result, VirtualResult) and result.evidence is not None, "asked for"
    files = result.evidence.files()
    return judge_stream(journal_stream(files), files_evidence(files), name, build_time)


def _judged_folder(folder: Path, name: str, build_time: Seconds | None) -> HostJudgement:
    """The evidence of a real run stays, for claimlab check."""
    evidence = folder_evidence(folder)
    with (folder / "journal.msgpack").open("rb") as journal:
        return judge_stream(journal, evidence, name, build_time)
