"""One cell: an arm at a point of the sweep, with one seed, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BytesIO
from itertools import cycle
from typing import Any, BinaryIO, cast

from hypervisor.public.units import Seconds
from launch.cluster.arrivals import plan_arrivals
from launch.cluster.cluster_plan import plan_cluster
from launch.cluster.host_plan import HostPlan, Plugins
from launch.cluster.plans import plan_guests
from launch.debate.experiment import Arm, Experiment
from launch.debate.figures import Figures, needs_judge, over_figures, run_figures, wants_hosts
from launch.debate.jitter import jittered
from launch.debate.latency import GUESTS, latency_figures, wants_latency
from launch.judge.build_time import planned_build_time
from launch.judge.evidence import files_evidence, journal_stream
from launch.judge.judge import judge_stream
from launch.judge.verdict import HostJudgement
from launch.scenario.load import load_document
from launch.scenario.models import Scenario
from launch.simulate.host_run import run_virtual
from launch.simulate.hosts_run import run_virtual_hosts
from launch.simulate.links import Links
from toolstack.interface import Scheme
from toolstack.registry import make_scheme


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
    real: bool = False
    """To be run by processes."""


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


def scenario_of(cell: Cell, *more: str) -> Scenario:
    """The cell's scenario, with `more` set last. ScenarioError for one that cannot be run."""
    experiment = cell.experiment
    arm = experiment.arms[cell.arm]
    sets = [
        *experiment.sets(cell.x, real=cell.real),
        *(experiment.control.set if cell.control else ()),
        *arm.set,
        f'schemes=["{arm.scheme}"]',
        *more,
    ]
    document: dict[str, Any] = deepcopy(experiment.scenario)
    return load_document(f"{experiment.id} {cell.arm}", document, sets).scenario


def run_cell(cell: Cell) -> dict[str, float | None]:
    """Its figures. A pair of arms has the same guests and arrivals for the same seed."""
    if cell.experiment.measure:
        return dict(_own_measure(cell))
    return scenario_figures(cell, scenario_of(cell))


def scenario_figures(cell: Cell, scenario: Scenario) -> dict[str, float | None]:
    """The figures of one virtual run with the cell's seed."""
    question = cell.experiment.question
    if wants_hosts(question.figure, question.per):
        return hosts_figures(cell, scenario)
    plan = plan_of(cell, scenario)
    judged = needs_judge(question.figure, question.per)
    timed = wants_latency(question.figure, question.per)
    result = run_virtual(plan, scenario.schemes[0], Links(cell.delay), evidence=judged or timed)
    files: Mapping[str, bytes] = {} if result.evidence is None else result.evidence.files()
    judgement = _judged(plan, files) if judged else None
    return {
        **run_figures(plan, result, judgement),
        **(latency_figures(_guests_histories(files)) if timed else {}),
    }


def hosts_figures(cell: Cell, scenario: Scenario) -> dict[str, float | None]:
    """The figures of one virtual run on several hosts, over all of them."""
    plan = plan_cluster(scenario, cell.seed, Plugins())
    done = run_virtual_hosts(plan, scenario.schemes[0], Links(cell.delay), evidence=False)
    return over_figures(done, [one.scenario.host.name for one in plan.hosts])


def _judged(plan: HostPlan, files: Mapping[str, bytes]) -> HostJudgement:
    return judge_stream(journal_stream(files), files_evidence(files), "", build_time_of(plan))


def build_time_of(plan: HostPlan) -> Seconds | None:
    """For how long the judge thinks a refused launch would have held its claim."""
    pace = plan.scenario.toolstack.pages_per_second
    return planned_build_time((one.pages for one in plan.arrivals), pace)


def _guests_histories(files: Mapping[str, bytes]) -> Iterator[BinaryIO]:
    """As a virtual run keeps them; its launcher's first moments are before emulated time."""
    names = (name for name in sorted(files) if name.startswith(GUESTS) and name.endswith(".history"))
    return (BytesIO(files[name]) for name in names)


def plan_of(cell: Cell, scenario: Scenario) -> HostPlan:
    """The cell's guests, arrivals and toolstacks."""
    arm = cell.experiment.arms[cell.arm]
    plan = HostPlan(
        scenario,
        cell.seed,
        plan_guests(scenario, cell.seed),
        plan_arrivals(scenario, cell.seed),
        _two_toolstacks(arm) if arm.second else Plugins(),
    )
    return jittered(plan, cell.experiment.jitter)


def _two_toolstacks(arm: Arm) -> Plugins:
    """The arm's scheme for the first, third ... toolstack that starts, `second` for those between."""
    turns = partial(_in_turn, cycle((arm.scheme, arm.second)), arm.scheme)
    return Plugins({arm.scheme: cast("type[Scheme]", turns)})  # called like a class, nothing else


def _in_turn(names: Iterator[str], first: str, parameters: Mapping[str, Any]) -> Scheme:
    """The scenario's parameters are the first scheme's; the second has its defaults."""
    name = next(names)
    return make_scheme(name, parameters if name == first else {})


def _own_measure(cell: Cell) -> Figures:
    """An experiment that no scenario can express brings its own function of the cell."""
    module, _, name = cell.experiment.measure.partition(":")
    found: Mapping[str, float | None] = getattr(import_module(module), name)(cell)
    return found
