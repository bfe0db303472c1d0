"""The launcher's own book of one host: which order is due, what was heard of it, who lives there now.

No clock and no socket: whoever keeps the house tells the time and carries the orders.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from hypervisor.edge import Identity
from hypervisor.public.orders import DestroyOrder, Farewell, LaunchOrder, Outcome, Stage
from hypervisor.public.units import Pages, Seconds
from launch.cluster.host_plan import HostPlan, HostResult
from launch.cluster.leftovers import Identified
from launch.cluster.plans import Kind, plan_built
from launch.cluster.population import Resident


class House:
    """Orders and inhabitants of one host in one run. It writes into `result`."""

    def __init__(self, plan: HostPlan, result: HostResult) -> None:
        self._plan = plan
        self._result = result
        self._arrivals = list(enumerate(plan.arrivals, start=1))
        self._arrivals.reverse()
        self._orders: dict[int, LaunchOrder] = {}
        self._built: dict[int, Outcome] = {}
        self._expiries: list[tuple[Seconds, int]] = []
        self.lifetime_max: dict[Identified, Pages] = {}
        """What max_pages of a domain must be when nobody clamps it."""

    def next_due(self) -> Seconds | None:
        """The emulated second of the next order; None when there is none to come as things stand."""
        moments = [self._arrivals[-1][1].t] if self._arrivals else []
        moments += [self._expiries[0][0]] if self._expiries else []
        return min(moments, default=None)

    def due(self, now: Seconds) -> Iterator[LaunchOrder | DestroyOrder]:
        """The orders to be given by `now`, launches first; each comes once."""
        while self._arrivals and self._arrivals[-1][1].t <= now:
            number, arrival = self._arrivals.pop()
            order = self._orders[number] = LaunchOrder(
                order=number,
                pages=arrival.pages,
                max_pages=max(arrival.pages, self._plan.scenario.arrivals.max or 0),
                builder=self._plan.scenario.toolstack.builder,
                vcpus=arrival.vcpus,
                lifetime=arrival.lifetime,
            )
            yield order
        while self._expiries and self._expiries[0][0] <= now:
            number = heapq.heappop(self._expiries)[1]
            yield DestroyOrder(number, self._built[number].domid)

    def ordered(self, order: LaunchOrder, now: Seconds, taken: bool) -> None:
        """A launch order went out at `now`; `taken` when somebody was there to take it."""
        self._result.ordered_at[order.order] = now
        if not taken:
            self._result.notes.append(f"order {order.order}: no toolstack is left to take it")

    def not_destroyed(self, order: DestroyOrder) -> None:
        """The toolstack that built the domain of `order` is gone."""
        self._result.notes.append(f"order {order.order}: the toolstack that built it cannot destroy it")

    def inhabitant(self, order: DestroyOrder) -> Identified:
        """The domain that `order` ends."""
        outcome = self._built[order.order]
        return outcome.domid, outcome.incarnation

    def moved_in(self, resident: Resident) -> None:
        """A guest lives there from now on."""
        if resident.max_pages is not None:
            self.lifetime_max[resident.key] = resident.max_pages

    def heard(self, outcome: Outcome) -> Resident | None:
        """Note what a toolstack said. A domain that was built is a new guest, and its lifetime runs."""
        self._result.outcomes.append(outcome)
        if outcome.stage != Stage.BUILT:
            return None
        order = self._orders[outcome.order]
        self._built[outcome.order] = outcome
        if order.lifetime is not None:
            heapq.heappush(self._expiries, (outcome.time + order.lifetime, order.order))
        kind: Kind = "pv" if order.builder.startswith("pv") else "hvm"
        name = f"guest-{outcome.domid}-{outcome.incarnation}"
        identity = Identity(outcome.domid, outcome.incarnation, outcome.secret, name)
        plan = plan_built(self._plan.scenario, order, self._plan.repeat)
        return Resident(plan, kind, identity, outcome.frames, None, f"launch-{order.order}")


def farewell_notes(name: str, farewell: Farewell) -> list[str]:
    """What a toolstack that left could not undo, and what its scheme has to tell."""
    undone = [f"{name}: could not undo: {line}" for line in farewell.leftovers]
    return undone + [f"{name}: {key}: {told}" for key, told in farewell.notes.items()]
