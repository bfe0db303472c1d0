"""What lies between a party and the hypervisor in virtual time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from hypervisor.public.units import Seconds

USUAL_DELAY: Final[Seconds] = 50e-6
"""One way, emulated: half a round trip over a local socket when emulated time is real time."""


@dataclass(frozen=True, slots=True)
class Links:
    """The same for every party. A virtual hypervisor answers in no time, so the link is all the latency."""

    delay: Seconds = USUAL_DELAY
    """One way, emulated."""

    @classmethod
    def measured(cls, round_trip: Seconds, speed: float) -> Self:
        """Links as slow as real ones: `round_trip` in real seconds at `speed` emulated seconds a second."""
        return cls(delay=round_trip * speed / 2)
