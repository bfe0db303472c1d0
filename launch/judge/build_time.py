"""For how long a claim that was not made is thought to be held: the one definition, for every command.

The median build as planned: pages of every launch that was asked for, over the pace of the builders. It is
the same for every scheme whatever it built, is known before anything runs, and needs no journal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

from hypervisor.public.units import Pages, Seconds
from launch.cluster.orders import launch_of
from launch.records import read_orders

SCENARIO_FILE = "scenario.json"


def planned_build_time(pages: Iterable[Pages], pages_per_second: float) -> Seconds | None:
    """Emulated seconds; `pages` of each launch, one that is tried on several hosts once. None without any."""
    sizes = list(pages)
    return median(sizes) / pages_per_second if sizes else None


def folders_build_time(folders: Sequence[Path]) -> Seconds | None:
    """The same for hosts of a run, RUN/<scheme>/<repeat>/<host>/.

    None as above, or when nothing says how fast builders were. An `EvidenceFault` for orders that are none.
    """
    pace = next((found for folder in folders if (found := _pace(folder)) is not None), None)
    return None if pace is None else planned_build_time(_launches(folders), pace)


def _launches(folders: Sequence[Path]) -> Iterator[Pages]:
    """Each launch once: hosts that stand beside each other are those of one repeat."""
    sizes: dict[tuple[Path, int], Pages] = {}
    for folder in folders:
        for one in read_orders(folder):
            sizes[folder.resolve().parent, launch_of(one.order)] = one.pages
    yield from sizes.values()


def _pace(folder: Path) -> float | None:
    """Of the scenario that stands where the run began."""
    for above in folder.resolve().parents[:3]:
        try:
            found = json.loads((above / SCENARIO_FILE).read_text(encoding="utf-8"))
            return float(found["toolstack"]["pages_per_second"]) or None
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return None
