"""Whether everybody was served: guests alike, and the toolstack beside them. Of runs with many guests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Final

from guests.report import GuestReport
from hypervisor.history import HistoryReader, Invoked
from hypervisor.public.units import Seconds
from launch.percentile import percentile

MANY: Final = 100
"""Guests from which on a summary tells it."""
SLOWEST: Final = 0.1
"""Share of the guests that are looked at as the slowest."""


@dataclass(frozen=True, slots=True)
class Service:
    """What guests got done: hypercalls an emulated second."""

    guests: int
    reported: int
    """Those that came late or left early, or were killed before their last report, among them."""
    median: float
    slowest: float
    """The mean over the slowest tenth of them."""

    @property
    def fairness(self) -> float:
        """What the slowest tenth get, as a share of the median; 1 where nobody asked for anything."""
        return self.slowest / self.median if self.median else 1.0

    def told(self) -> str:
        """One line for the summary."""
        return (
            f"{self.guests:,} of {self.reported:,} guests lived through it: {self.median:.3g} hypercalls "
            f"an emulated second at the median, "
            f"{self.slowest:.3g} for the slowest tenth ({self.fairness:.2f} of it)"
        )


def service(reports: Iterable[GuestReport]) -> Service | None:
    """Of the guests that lived for at least half as long as the oldest; None for fewer than `MANY`."""
    lived = [(one, one.ended_s - one.started_s) for one in reports]
    longest = max((seconds for _, seconds in lived), default=0.0)
    rates = sorted(
        one.hypercalls / seconds for one, seconds in lived if seconds > 0 and seconds * 2 >= longest
    )
    if len(rates) < MANY:
        return None
    slowest = rates[: max(1, round(SLOWEST * len(rates)))]
    return Service(len(rates), len(lived), median(rates), fmean(slowest))


def latencies(history: Path) -> Iterator[Seconds]:
    """Real seconds from each call that the history holds to its answer."""
    asked: dict[tuple[int, int, int], int] = {}
    with history.open("rb") as file:
        for one in HistoryReader(file):
            call = (one.domid, one.incarnation, one.seq)
            if isinstance(one, Invoked):
                asked[call] = one.time
            elif call in asked:
                yield (one.time - asked.pop(call)) / 1e9


def service_told(reports: Iterable[GuestReport], folder: Path) -> list[str]:
    """For the summary of a run with many guests: how they and the toolstacks of `folder` were served."""
    guests = service(reports)
    if guests is None:
        return []
    toolstacks = toolstack_told(sorted(folder.glob("toolstack-*.history")))
    return [guests.told(), *([] if toolstacks is None else [toolstacks])]


def toolstack_told(histories: Sequence[Path]) -> str | None:
    """One line on how long toolstacks waited for their hypercalls; None when they made none."""
    taken = [seconds for path in histories for seconds in latencies(path)]
    if not taken:
        return None
    p50, p99 = (1000 * (percentile(taken, rank) or 0.0) for rank in (50, 99))
    return (
        f"toolstack: {len(taken):,} calls answered, p50 {p50:.3g} ms, p99 {p99:.3g} ms, "
        f"longest {1000 * max(taken):.3g} ms (real)"
    )
