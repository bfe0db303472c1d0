"""What a crowd does more rarely than a few: where a thousand processes share two processors, getting up for
nothing is most of what they do."""

from __future__ import annotations

from typing import Final

from hypervisor.public.units import Seconds

CROWD: Final = 100
"""Processes beyond which each gets up more rarely, and guests beyond which each is reported more rarely."""
REPORT_SECONDS: Final[Seconds] = 2.0
"""Real seconds between a guest's interim reports, where it is one of few."""


def patience(processes: float) -> float:
    """How many times as long as usual each of so many processes waits (`GuestProcess.patience`)."""
    return max(1.0, processes / CROWD)


def report_every(guests: int) -> Seconds:
    """Real seconds between the interim reports of each of so many guests."""
    return REPORT_SECONDS * patience(guests)
