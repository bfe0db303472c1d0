"""One cell of a comparison: one variant, one repeat, run and judged. A finished cell is a file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from msgspec import Struct

from hypervisor.public.units import Seconds
from launch.cluster.arrivals import plan_arrivals
from launch.cluster.host_plan import HostPlan, HostResult
from launch.cluster.plans import plan_guests
from launch.cluster.run import run_host
from launch.compare.variants import Variant
from launch.errors import UsageError
from launch.judge.evidence import files_evidence, folder_evidence, journal_stream
from launch.judge.figures import figures, flat
from launch.judge.judge import judge_stream
from launch.judge.verdict import HostJudgement
from launch.launches import fold
from launch.results import Results
from launch.simulate.host_run import run_virtual
from launch.summary import summarise

CELLS: Final = "cells"


class Cell(Struct, frozen=True, forbid_unknown_fields=True):
    """cells/<variant>/<repeat>.json."""

    variant: str
    repeat: int
    violations: tuple[str, ...]  # none in a valid cell
    figures: dict[str, float | None]


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
        """The cell when it has been run before; UsageError when its file is none."""
        try:
            return _CELL.decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise UsageError(f"{self.path}: no cell of a comparison: {error}: remove it") from error


def run_cell(task: Task, say: Callable[[str], None] = lambda _: None) -> Cell:
    """Run and judge it, and leave its file, whole or not at all."""
    scenario, scheme = task.variant.loaded.scenario, task.variant.scheme
    plan = HostPlan(
        scenario, task.repeat, plan_guests(scenario, task.repeat), plan_arrivals(scenario, task.repeat)
    )
    run = _real if task.real else _virtual
    result, judgement = run(task, plan, scheme, say)
    cell = Cell(task.variant.name, task.repeat, result.violations, _figures(result, judgement))
    task.path.parent.mkdir(parents=True, exist_ok=True)
    partial = task.path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(cell)) + b"\n")
    partial.replace(task.path)
    return cell


def planned_build_time(plan: HostPlan) -> Seconds | None:
    """Median of pages over pace: a measure that is the same for every scheme, whatever it builds."""
    pace = plan.scenario.toolstack.pages_per_second
    return median(one.pages / pace for one in plan.arrivals) if plan.arrivals else None


def _virtual(
    task: Task, plan: HostPlan, scheme: str, say: Callable[[str], None]
) -> tuple[HostResult, HostJudgement]:
    result = run_virtual(plan, scheme)
    assert result.evidence is not None, "asked for"
    files = result.evidence.files()
    evidence = files_evidence(files)
    return result, judge_stream(journal_stream(files), evidence, scheme, planned_build_time(plan))


def _real(
    task: Task, plan: HostPlan, scheme: str, say: Callable[[str], None]
) -> tuple[HostResult, HostJudgement]:
    """The evidence of a real run stays, for claimlab check."""
    results = Results(task.out / "runs" / task.variant.folder)
    folder = results.host_directory(scheme, plan.repeat, plan.scenario.host.name)
    shutil.rmtree(folder)  # of an attempt that was interrupted
    result = run_host(plan, scheme, results, say)
    evidence = folder_evidence(folder)
    with (folder / "journal.msgpack").open("rb") as journal:
        return result, judge_stream(journal, evidence, scheme, planned_build_time(plan))


def _figures(result: HostResult, judgement: HostJudgement) -> dict[str, float | None]:
    launches = fold(result.ordered_at, result.outcomes)
    summary = summarise(launches, result.reports, result.leftovers)
    return {**flat(summary), **flat(figures([judgement]))}
