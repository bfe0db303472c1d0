"""The `set` lists of an experiment that no scenario expresses: a flat table for its own function."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.debate.cells import Cell


def settings(cell: Cell) -> Mapping[str, Any]:
    """The experiment's [scenario] with what point, control and arm set, later ones winning."""
    experiment = cell.experiment
    sets = (
        *experiment.sets(cell.x, real=cell.real),
        *(experiment.control.set if cell.control else ()),
        *experiment.arms[cell.arm].set,
    )
    found = dict(experiment.scenario)
    for text in sets:
        found |= tomllib.loads(text)
    return found
