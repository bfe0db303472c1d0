"""Schedule after schedule until something is violated, nothing is left to try, or the budget is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from hypervisor.public.units import Seconds
from launch.explore.blueprint import Blueprint
from launch.explore.execution import Execution
from launch.explore.footprint import Footprints
from launch.explore.scene import Violation
from launch.explore.schedule import Kept, Turns, turns_of
from launch.explore.schedulers import RedundantError, Scheduler

Verdict = Literal["violated", "exhausted", "budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """When to give up; None: never."""

    schedules: int | None = None
    seconds: Seconds | None = None


@dataclass(slots=True)
class OutcomeClass:
    """One way in which schedules end."""

    first: Turns
    schedules: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """A schedule that violates something."""

    turns: Turns
    violation: Violation
    kept: Kept | None = None


@dataclass(slots=True)
class Exploration:
    """What a search found and how much it tried."""

    verdict: Verdict = "budget"
    schedules: int = 0
    """Run to their end, or to a violation."""
    redundant: int = 0
    """Given up on the way, as repeating what had been tried."""
    violating: int = 0
    """Of `schedules`, those with a violation."""
    steps: int = 0
    """Moves made, each with every invariant checked after it."""
    seconds: Seconds = 0.0
    finding: Finding | None = None
    """The first."""
    outcomes: dict[str, OutcomeClass] = field(default_factory=dict[str, OutcomeClass])
    cut: int = 0
    """Schedules cut off because they did not end: then nothing is exhausted."""


def explore(
    blueprint: Blueprint,
    scheduler: Scheduler,
    budget: Budget,
    *,
    to_the_end: bool = False,
    kept: Kept | None = None,
    clock: Callable[[], Seconds] = perf_counter,
) -> Exploration:
    """Search; `to_the_end` goes on after a violation, for every class of outcome."""
    found, footprints, began = Exploration(), Footprints(), clock()
    while True:
        found.seconds = clock() - began
        if _spent(found, budget):
            break
        choose = scheduler.begin()
        if choose is None:
            found.verdict = "exhausted" if not found.cut else "budget"
            break
        execution = Execution(blueprint, footprints, kept)
        try:
            ended = execution.run(choose, not to_the_end, lambda: _spent_time(clock() - began, budget))
        except RedundantError:
            found.redundant += 1
            found.steps += len(execution.records)
            continue
        if not ended:
            found.steps += len(execution.records)
            break
        scheduler.ended([record.move for record in execution.records])
        _count(found, execution, kept)
        if found.finding is not None and not to_the_end:
            break
    found.seconds = clock() - began
    if found.finding is not None:
        found.verdict = "violated"
    return found


def _spent(found: Exploration, budget: Budget) -> bool:
    if budget.schedules is not None and found.schedules + found.redundant >= budget.schedules:
        return True
    return _spent_time(found.seconds, budget)


def _spent_time(seconds: Seconds, budget: Budget) -> bool:
    return budget.seconds is not None and seconds >= budget.seconds


def _count(found: Exploration, execution: Execution, kept: Kept | None) -> None:
    found.schedules += 1
    found.steps += len(execution.records)
    found.cut += execution.cut
    turns = turns_of([record.move for record in execution.records])
    violations = execution.scene.violations
    if violations:
        found.violating += 1
        if found.finding is None:
            found.finding = Finding(turns, violations[0], kept)
    outcome = execution.outcome()
    known = found.outcomes.get(outcome)
    if known is None:
        found.outcomes[outcome] = OutcomeClass(turns)
    else:
        known.schedules += 1
