"""A move: what one party may do next, and how a schedule names it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from launch.explore.footprint import Footprint
from launch.explore.party_world import Call

Kind = Literal["call", "event", "timer"]
Identity = tuple[int, int]
"""(party, number): the same move in every schedule in which its party did the same before."""


class Move(Struct, frozen=True, eq=False):
    """One step of a hypercall, the arrival of an event, or a timer that rings."""

    party: int
    identity: Identity
    kind: Kind
    footprint: Footprint
    nth: int
    """Place among its party's moves at that moment; above 0 for a party that does several things at once."""
    call: Call | None = None
