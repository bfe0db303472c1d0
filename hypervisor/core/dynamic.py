"""State of two counterfactuals about dynamic allocations (P4, P5): data only, empty on every real host."""

from collections import deque
from dataclasses import dataclass, field

from hypervisor.core.steps import Caller
from hypervisor.public.counterfactual import ReservationChange
from hypervisor.public.units import Pages


@dataclass(slots=True)
class ReservationRing:
    """One toolstack's ring: bounded, so that a slow reader loses changes and not the host its memory."""

    size: int
    changes: deque[ReservationChange] = field(default_factory=deque[ReservationChange])
    lost: int = 0
    armed: bool = True
    """The next change raises an event."""


@dataclass(slots=True)
class Mediation:
    """Who is asked, and which requests wait for the answer."""

    mediator: Caller | None = None
    undecided: dict[int, tuple[Caller, Pages]] = field(default_factory=dict[int, tuple[Caller, Pages]])
    """Ticket -> who wants to grow by how much."""
    allowed: dict[int, None] = field(default_factory=dict[int, None])
    """Answered with yes, and not gone on yet."""
    last_ticket: int = 0
