"""Cells over the processors, and what they come to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time
from typing import Any

from launch.debate.cells import Cell, cells_of, run_cell
from launch.debate.confirm import Confirmation, Confirmed
from launch.debate.experiment import Experiment, Kind, Verdict
from launch.debate.figures import Figures
from launch.debate.verdict import Finding, Measured, PointFinding, find
from launch.pools import as_they_come

Tell = Callable[[int], None]
"""Hears how many cells are done."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How an experiment is run."""

    quick: bool = False
    control: bool = False
    """Run the control setting instead."""
    delay: float = 50e-6
    """One way, emulated seconds."""
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    seeds: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """An experiment's verdict."""

    experiment: Experiment
    setting: Setting
    finding: Finding
    cells: int
    confirmation: Confirmation | None = None
    """What real processes say; None when they were not asked."""
    cpu_s: float = 0.0
    """Processor seconds of all cells."""

    @property
    def verdict(self) -> Verdict:
        """Unknown also when real processes contradict it, or could not be trusted."""
        confirmed = self.confirmation is None or self.confirmation.confirmed is Confirmed.YES
        return self.finding.verdict if confirmed else Verdict.UNKNOWN

    @property
    def known(self) -> bool:
        """False when the figures do not decide."""
        return self.verdict is not Verdict.UNKNOWN

    @property
    def as_declared(self) -> bool:
        """True for an experiment, and for a control that came out as its file says it must."""
        return not self.setting.control or self.verdict is self.experiment.control.verdict

    def _standing(self, point: PointFinding) -> str | None:
        """None where the points are not asked one by one."""
        return point.standing.value if self.experiment.question.kind is Kind.EACH else None

    def as_json(self) -> dict[str, Any]:
        """One of `verdicts`."""
        one, finding = self.experiment, self.finding
        return {
            "id": one.id,
            "title": one.title,
            "by": one.by,
            "release": one.release,
            "control": self.setting.control,
            "figure": one.question.figure + (f" / {one.question.per}" if one.question.per else ""),
            "arms": list(one.question.arms),
            "threshold": {"above": one.question.above, "below": one.question.below},
            "reason": one.question.reason,
            "verdict": self.verdict.value,
            "why": finding.why,
            "deterministic": finding.deterministic,
            "expected": self.experiment.control.verdict.value if self.setting.control else None,
            "boundary": None if finding.boundary is None else list(finding.boundary),
            "x": one.x,
            "slope": _interval(finding.slope),
            "points": [
                {"x": point.x, "standing": self._standing(point), "interval": _interval(point.measured)}
                for point in finding.points
            ],
            "about": one.about,
            "prior": one.prior,
            "cells": self.cells,
            "cpu_s": round(self.cpu_s, 1),
            "real": None if self.confirmation is None else self.confirmation.as_json(),
        }


def _interval(found: Measured | None) -> dict[str, float | int | str | None] | None:
    if found is None:
        return None
    one = found.interval
    return {
        "low": one.low,
        "mean": one.mean,
        "high": one.high,
        "count": one.count,
        "seeds": found.scatter.value,
    }


def hold(experiment: Experiment, setting: Setting, tell: Tell = lambda _: None) -> Outcome:
    """Run an experiment, or its control. UsageError for one that cannot be run."""
    cells = list(
        cells_of(
            experiment,
            quick=setting.quick,
            control=setting.control,
            delay=setting.delay,
            seeds=setting.seeds,
        )
    )
    found: dict[tuple[float, str, int], Figures] = {}
    cpu_s = 0.0
    done = enumerate(as_they_come(_timed, cells, setting.jobs), start=1)
    for number, (cell, (figures, spent)) in done:
        tell(number)
        found[cell.x, cell.arm, cell.seed] = figures
        cpu_s += spent
    return Outcome(
        experiment, setting, find(experiment, found, control=setting.control), len(cells), cpu_s=cpu_s
    )


def _timed(cell: Cell) -> tuple[Figures, float]:
    """A cell's figures, and the processor seconds that they took."""
    begun = process_time()
    return run_cell(cell), process_time() - begun
