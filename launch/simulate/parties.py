"""Who takes part in a virtual run beside the hypervisor."""

from __future__ import annotations

from dataclasses import dataclass, field

from guests.kernel.kernel import GuestKernel
from guests.report import GuestReport
from launch.cluster.leftovers import Identified
from launch.cluster.population import Resident
from launch.simulate.sim_world import SimWorld
from toolstack.service import Service


@dataclass(slots=True, eq=False)
class VirtualToolstack:
    """One toolstack at work."""

    party: str
    """What holds and faults call it."""
    world: SimWorld
    service: Service
    lost: bool = False
    """It was killed, or fell over its own feet."""

    @property
    def name(self) -> str:
        """What notes call it."""
        return self.party


@dataclass(slots=True, eq=False)
class VirtualGuest:
    """One guest, alive or not: its report stays."""

    name: str
    resident: Resident
    world: SimWorld
    kernel: GuestKernel
    lost: bool = False
    last_report: GuestReport | None = None
    """Of one that was lost."""

    @property
    def party(self) -> str:
        """What holds and faults call it."""
        return self.resident.party

    def report(self) -> GuestReport:
        """Its figures: as it was killed, or as it is."""
        return self.last_report or self.kernel.report()


@dataclass(slots=True)
class Parties:
    """Everyone."""

    toolstacks: list[VirtualToolstack] = field(default_factory=list[VirtualToolstack])
    guests: list[VirtualGuest] = field(default_factory=list[VirtualGuest])
    inhabitants: dict[Identified, VirtualGuest] = field(default_factory=dict[Identified, VirtualGuest])
    """The guests whose domain has not been given up, by domain."""

    def everyone(self) -> list[VirtualToolstack | VirtualGuest]:
        """Toolstacks and guests, dead ones included."""
        return [*self.toolstacks, *self.guests]

    def find(self, party: str) -> VirtualToolstack | VirtualGuest | None:
        """The party of that name; of several lives the last."""
        return next((one for one in reversed(self.everyone()) if one.party == party), None)

    def at_work(self) -> list[VirtualToolstack]:
        """The toolstacks that were not lost."""
        return [one for one in self.toolstacks if not one.lost]
