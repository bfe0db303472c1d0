"""One cell: an arm at a point of the sweep, with one seed, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from launch.cluster.arrivals import plan_arrivals
from launch.cluster.host_plan import HostPlan
from launch.cluster.plans import plan_guests
from launch.debate.experiment import Experiment
from launch.debate.figures import Figures, needs_judge, run_figures
from launch.judge.evidence import files_evidence, journal_stream
from launch.judge.judge import judge_stream
from launch.scenario.load import load_document
from launch.scenario.models import Scenario
from launch.simulate.host_run import run_virtual
from launch.simulate.links import Links


@dataclass(frozen=True, slots=True)
class Cell:
    """What is to be run; it is its own key, and can be sent to another process."""

    experiment: Experiment
    x: float
    arm: str
    seed: int
    control: bool
    delay: float
    """Of the links, one way, emulated seconds."""


def cells_of(
    experiment: Experiment, *, quick: bool, control: bool, delay: float, seeds: int | None = None
) -> Iterator[Cell]:
    """Every cell of a verdict. `seeds` wins over the experiment's own number."""
    count = seeds or (experiment.quick_seeds if quick else experiment.seeds)
    wanted = experiment.control.points if control else ()
    for point in experiment.points:
        if (quick and not point.quick) or (wanted and point.x not in wanted):
            continue
        for arm in experiment.question.arms:
            for seed in range(1, count + 1):
                yield Cell(experiment, point.x, arm, seed, control, delay)


def scenario_of(cell: Cell) -> Scenario:
    """The cell's scenario. ScenarioError for one that cannot be run."""
    experiment = cell.experiment
    arm = experiment.arms[cell.arm]
    sets = [
        *experiment.point(cell.x).set,
        *(experiment.control.set if cell.control else ()),
        *arm.set,
        f'schemes=["{arm.scheme}"]',
    ]
    document: dict[str, Any] = deepcopy(experiment.scenario)
    return load_document(f"{experiment.id} {cell.arm}", document, sets).scenario


def run_cell(cell: Cell) -> dict[str, float | None]:
    """Its figures. A pair of arms has the same guests and arrivals for the same seed."""
    if cell.experiment.measure:
        return dict(_measured(cell))
    scenario = scenario_of(cell)
    plan = HostPlan(scenario, cell.seed, plan_guests(scenario, cell.seed), plan_arrivals(scenario, cell.seed))
    question = cell.experiment.question
    judged = needs_judge(question.figure, question.per)
    result = run_virtual(plan, scenario.schemes[0], Links(cell.delay), evidence=judged)
    if result.evidence is None:
        return run_figures(result, None)
    files = result.evidence.files()
    return run_figures(result, judge_stream(journal_stream(files), files_evidence(files)))


def _measured(cell: Cell) -> Figures:
    """An experiment that no scenario can express brings its own function of the cell."""
    module, _, name = cell.experiment.measure.partition(":")
    found: Mapping[str, float | None] = getattr(import_module(module), name)(cell)
    return found
