"""Make mix.json from a run's journals: `python -m benchmarks.record runs/latest > benchmarks/mix.json`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from hypervisor.journal import JournalReader
from hypervisor.public.requests import Request

Kind = tuple[str, int]
"""(class of the request, order of its extents)."""


def kind_of(request: Request) -> Kind:
    """What the mix tells apart."""
    return type(request).__name__, getattr(request, "extent_order", 0)


def guests_requests(journals: Iterable[Path]) -> dict[Kind, list[int]]:
    """The number of extents of every request that a guest made, by kind."""
    found: dict[Kind, list[int]] = {}
    for journal in journals:
        with journal.open("rb") as file:
            for step in JournalReader(file).steps():
                if step.request is not None and step.caller[0]:
                    extents = getattr(step.request, "nr_extents", 1)
                    found.setdefault(kind_of(step.request), []).append(extents)
    return found


def mix(source: str, found: dict[Kind, list[int]]) -> dict[str, Any]:
    """Shares of all guests' requests, most frequent first, with the median number of extents."""
    total = sum(map(len, found.values()))
    kinds = [
        {
            "request": name,
            "order": order,
            "extents": int(median(extents)),
            "share": round(len(extents) / total, 4),
        }
        for (name, order), extents in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
    return {"source": source, "requests": total, "kinds": kinds}


def main() -> None:
    """Print the mix of a run's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="what claimlab run left")
    parser.add_argument("--source", default="", help="what the mix is called: the scenario and its options")
    options = parser.parse_args()
    journals = sorted(options.run.rglob("journal*"))
    if not journals:
        parser.error(f"{options.run} holds no journal: give the folder of a run")
    print(json.dumps(mix(options.source or options.run.name, guests_requests(journals)), indent=1))


if __name__ == "__main__":
    main()
