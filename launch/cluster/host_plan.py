"""What is to be run on one host and what came of it: the same for real processes and for virtual time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from guests.behaviours import BehaviourFactory
from guests.report import GuestReport
from hypervisor.public.lag import Lag
from hypervisor.public.orders import Outcome
from hypervisor.public.units import Pages, Seconds
from launch.arrivals.arrival import Arrival
from launch.cluster.plans import GuestPlan
from launch.memory_figures import RefusedAllocations
from launch.scenario.models import Scenario
from toolstack.interface import Scheme


@dataclass(frozen=True, slots=True)
class Plugins:
    """Classes handed over as such, by the name a scenario calls them: of a notebook, say."""

    schemes: Mapping[str, type[Scheme]] = field(default_factory=dict[str, type[Scheme]])
    behaviours: Mapping[str, BehaviourFactory] = field(default_factory=dict[str, BehaviourFactory])


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What is to be run: the same for every scheme of a repeat."""

    scenario: Scenario
    repeat: int
    guests: Sequence[GuestPlan]
    arrivals: Sequence[Arrival]
    plugins: Plugins = field(default_factory=Plugins)
    launches_seed: int | None = None
    """Of the streams of launches, where the scenario's seed is that of one of several hosts."""


def _nobody(_order: int) -> None:
    """There is no other host that could try it."""


@dataclass(frozen=True, slots=True)
class Others:
    """What a host is among several."""

    failed: Callable[[int], None] = _nobody
    """Told of each order that was refused, failed late or found nobody to take it."""
    period: Seconds | None = None
    """Emulated seconds between two questions for its free memory; None: nobody asks."""


ALONE: Final = Others()


@dataclass(slots=True)
class HostResult:
    """What came of it."""

    ordered_at: dict[int, Seconds] = field(default_factory=dict[int, Seconds])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    reports: tuple[GuestReport, ...] = ()
    leftovers: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list[str])
    crashed: int = 0
    """Domains that the hypervisor crashed for lack of a page (S10, A30)."""
    growth: dict[str, Pages] = field(default_factory=dict[str, Pages])
    refused: tuple[RefusedAllocations, ...] = ()
    lags: dict[str, Lag] = field(default_factory=dict[str, Lag])
    """How late the processes woke up, by name; guests tell in their reports."""
    round_trip: Seconds | None = None
    """Real seconds of one hypercall; None where no real time passes."""
