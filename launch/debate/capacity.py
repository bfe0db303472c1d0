"""How many domains a scheme can put on a host before they hurt each other (H5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from launch.debate.cells import Cell, scenario_figures, scenario_of
from launch.debate.figures import Figures

TOLERABLE: Final = 0.01
"""Share of their time that guests may have pages in swap. It is the same for every scheme, so that they are
compared at equal pain and none is praised for admitting what then cannot live."""
STEPS: Final = 4
"""Bisections: the answer is exact to a sixteenth of what was admitted at first."""


def most_domains(cell: Cell) -> Mapping[str, float | None]:
    """The most domains that were built and left everybody unharmed, as `domains`, with that run's figures.

    All the scenario's launches are asked for; as long as that hurts, fewer of them.
    """
    found = _run(cell, ())
    asked_for = found["launches"]
    low, high = 0, int(found["built"] or 0)
    best = found if _unharmed(found) else {**found, "built": 0.0}
    for _ in range(0 if _unharmed(found) else STEPS):
        middle = (low + high) // 2
        found = _run(cell, (f"arrivals.limit={middle}",))
        if _unharmed(found):
            low, best = middle, found
        else:
            high = middle
    return {**best, "domains": best["built"], "launches": asked_for}


def _run(cell: Cell, more: tuple[str, ...]) -> Figures:
    return scenario_figures(cell, scenario_of(cell, *more))


def _unharmed(found: Figures) -> bool:
    lived = (found.get("guests.ended_s") or 0.0) - (found.get("guests.started_s") or 0.0)
    stalled = found.get("guests.stalled_s") or 0.0
    return stalled <= TOLERABLE * lived
