"""How long guests' allocations took, from their histories: `populate.p50_ms`, `populate.p99_ms`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final

from hypervisor.history import HistoryReader, Invoked, Returned
from hypervisor.public.memory import PopulatePhysmap
from launch.percentile import percentile

FIGURES: Final = "populate"
GUESTS: Final = "guests/"


def wants_latency(*names: str) -> bool:
    """True when one of the figures asked for is of this file."""
    return any(name.partition(".")[0] == FIGURES for name in names)


def latency_figures(histories: Iterable[BinaryIO], speed: float = 1.0) -> Mapping[str, float | None]:
    """Emulated milliseconds between a guest's populate call and its answer.

    `speed`: emulated seconds in a second of the histories' clock; 1 for virtual ones, which are emulated.
    """
    taken = [ns * speed / 1e6 for history in histories for ns in _populates(history)]
    return {f"{FIGURES}.p50_ms": percentile(taken, 50), f"{FIGURES}.p99_ms": percentile(taken, 99)}


def _populates(history: BinaryIO) -> Iterator[int]:
    """Nanoseconds of each that was answered while its guest had the emulated time running."""
    begun: dict[int, int] = {}
    for record in HistoryReader(history):
        match record:
            case Invoked(requests=(PopulatePhysmap(), *_)):
                begun[record.seq] = record.time
            case Returned(error=None) if record.seq in begun:
                yield record.time - begun.pop(record.seq)
            case _:
                pass
