"""Orders out and outcomes in, in virtual time: what `launch.cluster.desk` does over a socket."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypervisor.public.orders import LaunchOrder, Outcome
from hypervisor.public.units import Seconds
from launch.cluster.house import House
from launch.cluster.leftovers import Identified
from launch.cluster.population import Resident
from launch.simulate.evidence import Evidence
from launch.simulate.staff import Staff
from launch.simulate.world import Simulator


class VirtualDesk:
    """Gives what is due, and has guests move in and out."""

    def __init__(
        self,
        simulator: Simulator,
        house: House,
        evidence: Evidence | None,
        duration: Seconds,
        move_in: Callable[[Resident], None],
        move_out: Callable[[Identified], None],
    ) -> None:
        self._simulator = simulator
        self._house = house
        self._evidence = evidence
        self._duration = duration
        self._move_in = move_in
        self._move_out = move_out
        self._called_at: Seconds | None = None

    def keep_house(self, staff: Staff) -> None:
        """Give what is due, and look again when the next order is."""
        now = self._simulator.now
        if now >= self._duration:
            return
        for order in self._house.due(now):
            if isinstance(order, LaunchOrder):
                if self._evidence is not None:
                    self._evidence.order(order)
                self._house.ordered(order, now, staff.launch(order))
                continue
            self._move_out(self._house.inhabitant(order))
            if not staff.destroy(order):
                self._house.not_destroyed(order)
        self.look_again(staff)

    def look_again(self, staff: Staff) -> None:
        """Something may have become due earlier than was known."""
        due = self._house.next_due()
        if due is not None and (self._called_at is None or due < self._called_at):
            self._called_at = due
            self._simulator.loop.call_at(due, partial(self._called, staff))

    def _called(self, staff: Staff) -> None:
        self._called_at = None
        self.keep_house(staff)

    def heard(self, staff: Staff, outcome: Outcome) -> None:
        """A toolstack's word has come."""
        if self._evidence is not None:
            self._evidence.outcome(outcome)
        resident = self._house.heard(outcome)
        if resident is not None:
            self._move_in(resident)
            self.look_again(staff)
