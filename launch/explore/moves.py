"""A move: what one party may do next, and how a schedule names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from launch.explore.footprint import Footprint
from launch.explore.party_world import Call

Kind = Literal["call", "event", "timer"]
Identity = tuple[int, int]
"""(party, number): the same move in every schedule in which its party did the same before."""


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a hypercall, the arrival of an event, or a timer that rings."""

    party: int
    number: int
    kind: Kind
    footprint: Footprint
    nth: int
    """Place among its party's moves at that moment; above 0 for a party that does several things at once."""
    call: Call | None = None

    @property
    def identity(self) -> Identity:
        """See `Identity`."""
        return self.party, self.number
