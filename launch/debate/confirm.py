"""Points of an experiment once more with real processes, one run at a time: the same question again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from launch.cluster.host_plan import HostPlan, HostResult
from launch.cluster.run import run_host
from launch.debate.cells import Cell, build_time_of, plan_of, scenario_of
from launch.debate.experiment import Experiment, Kind, Real, Verdict
from launch.debate.figures import Figures, needs_judge, run_figures
from launch.debate.latency import latency_figures, wants_latency
from launch.debate.verdict import Finding, Standing, find, side
from launch.errors import UsageError
from launch.judge.evidence import folder_evidence
from launch.judge.judge import judge_stream
from launch.judge.verdict import HostJudgement
from launch.results import Results
from launch.trust import distrust, lags_of, time_scale

Say = Callable[[str], None]
"""Hears a line before each run."""


class Confirmed(StrEnum):
    """What real processes say of a verdict."""

    YES = "yes"
    NO = "no"
    REFUSED = "refused"  # the machine was too loaded, or a run was invalid


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Of one experiment."""

    confirmed: Confirmed
    finding: Finding
    why: str = ""
    """One line, when refused."""

    def as_json(self) -> dict[str, Any]:
        """One of `verdicts`, under `real`."""
        points = [
            {"x": one.x, "mean": one.measured and one.measured.interval.mean} for one in self.finding.points
        ]
        return {"confirmed": self.confirmed.value, "why": self.why, "points": points}


def confirm(experiment: Experiment, virtual: Finding, say: Say = lambda _: None) -> Confirmation | None:
    """Run its real points. None when it names none. UsageError for what the user can put right."""
    if experiment.real is None:
        return None
    found: dict[tuple[float, str, int], Figures] = {}
    complaints: list[str] = []
    for cell in _cells(experiment, experiment.real):
        say(f"{experiment.id} with processes: {experiment.x} {cell.x:g}, {cell.arm}, seed {cell.seed}")
        figures, complaint = run_real(cell, experiment.real)
        if figures is None:
            return Confirmation(Confirmed.REFUSED, Finding(Verdict.UNKNOWN, ()), complaint)
        found[cell.x, cell.arm, cell.seed] = figures
        complaints += [complaint] if complaint else []
    finding = find(experiment, found)
    if complaints:
        return Confirmation(Confirmed.REFUSED, finding, complaints[0])
    agreed = _agree(experiment, virtual, finding)
    return Confirmation(Confirmed.YES if agreed else Confirmed.NO, finding)


def _cells(experiment: Experiment, real: Real) -> Iterator[Cell]:
    for point in real.points:
        for seed in range(1, real.seeds + 1):
            for arm in experiment.question.arms:
                yield Cell(experiment, point.x, arm, seed, control=False, delay=0.0, real=True)


def _agree(experiment: Experiment, virtual: Finding, real: Finding) -> bool:
    """The means of real runs lie on the side of the threshold that virtual time has, where it knows."""
    question = experiment.question
    if question.kind is Kind.GROWS:
        sides = {Verdict.HOLDS: Standing.HOLDS, Verdict.FAILS: Standing.FAILS}
        return sides.get(virtual.verdict) is side(question, real.slope)
    if question.kind is Kind.ZERO:
        return virtual.verdict is real.verdict
    known = {one.x: one.standing for one in virtual.points if one.standing is not Standing.OPEN}
    return all(known.get(one.x, one.standing) is side(question, one.measured) for one in real.points)


def run_real(cell: Cell, real: Real) -> tuple[Figures | None, str]:
    """Figures of one run with processes, and why they cannot be trusted, or "". A failed run has none."""
    try:
        return _run_real(cell, real)
    except UsageError as error:  # on a machine that is too loaded processes do not come up in time
        return None, f"a run failed: {error}"


def _run_real(cell: Cell, real: Real) -> tuple[Figures | None, str]:
    scenario = scenario_of(cell)
    plan = plan_of(cell, scenario)
    with tempfile.TemporaryDirectory(prefix="claimlab-debate-") as name:
        results = Results(Path(name))
        scheme = scenario.schemes[0]
        result = run_host(plan, scheme, results, lambda _: None)
        if result.violations:
            return None, f"the run is invalid: {result.violations[0]}"
        folder = results.host_directory(scheme, plan.repeat, scenario.host.name)
        figures = _figures(cell, plan, result, folder)
    scale = time_scale(scenario) if real.scale is None else real.scale
    return figures, distrust(lags_of(result), scenario.speed, scale) or ""


def _figures(cell: Cell, plan: HostPlan, result: HostResult, folder: Path) -> Figures:
    question = cell.experiment.question
    found = run_figures(plan, result, _judgement(cell, plan, folder))
    return {**found, **_latency(folder, plan.scenario.speed, wants_latency(question.figure, question.per))}


def _judgement(cell: Cell, plan: HostPlan, folder: Path) -> HostJudgement | None:
    question = cell.experiment.question
    if not needs_judge(question.figure, question.per):
        return None
    with (folder / "journal.msgpack").open("rb") as journal:
        return judge_stream(journal, folder_evidence(folder), "", build_time_of(plan))


def _latency(folder: Path, speed: float, wanted: bool) -> Mapping[str, float | None]:
    if not wanted:
        return {}
    files = [path.open("rb") for path in sorted((folder / "guests").glob("*.history"))]
    try:
        return latency_figures(files, speed)
    finally:
        for file in files:
            file.close()
