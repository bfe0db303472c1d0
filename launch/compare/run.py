"""Every cell that is still to be run: several at a time in virtual time, one after the other for real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from launch.compare.cell import Cell, Task, run_cell
from launch.compare.report import Column, Comparison
from launch.compare.variants import Variant
from launch.pools import as_they_come

DOCUMENT: Final = "comparison.json"

Advance = Callable[[str], None]
"""Told of every cell that is there: what it is."""


def compare_variants(
    out: Path, variants: Sequence[Variant], repeats: int, *, jobs: int, real: bool, advance: Advance
) -> Comparison:
    """Run what is missing in `out`, and fold all cells into one comparison. UsageError as a run raises it."""
    tasks = [
        Task(out, variant, repeat, real)
        for repeat in range(1, repeats + 1)  # an interruption leaves whole repeats, so pairs
        for variant in variants
    ]
    cells: dict[tuple[str, int], Cell] = {}
    missing: list[Task] = []
    for task in tasks:
        cell = task.finished()
        if cell is None:
            missing.append(task)
        else:
            cells[task.variant.name, task.repeat] = cell
            advance(f"{task.variant.name}, repeat {task.repeat}: there already")
    for task, cell in as_they_come(run_cell, missing, 1 if real else jobs):
        cells[task.variant.name, task.repeat] = cell
        advance(f"{task.variant.name}, repeat {task.repeat}")
    return fold(out, variants, cells, real)


def fold(
    out: Path, variants: Sequence[Variant], cells: dict[tuple[str, int], Cell], real: bool
) -> Comparison:
    """All cells as one comparison, which is left in `out`; those that cannot be trusted are named only."""
    scenario = variants[0].loaded.scenario
    kind = "real processes" if real else "virtual time"
    columns = [
        Column(
            one.name,
            one.scheme,
            {
                repeat: cell
                for (name, repeat), cell in cells.items()
                if name == one.name and not cell.distrust
            },
        )
        for one in variants
    ]
    distrusted = [
        f"{name}, repeat {repeat}: {cell.distrust}"
        for (name, repeat), cell in sorted(cells.items())
        if cell.distrust
    ]
    heading = f"{scenario.name}: release {scenario.release}, seed {scenario.seed}, {kind}"
    comparison = Comparison(heading, columns, distrusted)
    (out / DOCUMENT).write_bytes(comparison.to_json())
    return comparison
