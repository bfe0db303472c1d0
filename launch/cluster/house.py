"""The launcher's own book of one host: which order is due, what was heard of it, who lives there now.

No clock and no socket: whoever keeps the house tells the time and carries the orders.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Final

from hypervisor.edge import Identity
from hypervisor.public.orders import DestroyOrder, Farewell, LaunchOrder, Outcome, Stage
from hypervisor.public.units import Pages, Seconds
from launch.cluster.host_plan import ALONE, HostPlan, HostResult, Others
from launch.cluster.leftovers import Identified
from launch.cluster.orders import launch_of, order_of
from launch.cluster.plans import Kind, plan_built
from launch.cluster.population import Resident

_ENDS: Final = (Stage.REFUSED, Stage.FAILED, Stage.BUILT, Stage.DISMISSED)


class House:
    """Orders and inhabitants of one host in one run. It writes into `result`."""

    def __init__(self, plan: HostPlan, result: HostResult, others: Others = ALONE) -> None:
        """`others` is what the host is among several."""
        self._plan = plan
        self._failed = others.failed
        self._placed: deque[tuple[Seconds, LaunchOrder]] = deque()
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
        moments += [self._placed[0][0]] if self._placed else []
        moments += [self._expiries[0][0]] if self._expiries else []
        return min(moments, default=None)

    def due(self, now: Seconds) -> Iterator[LaunchOrder | DestroyOrder]:
        """The orders to be given by `now`, launches first; each comes once."""
        while self._arrivals and self._arrivals[-1][1].t <= now:
            number, arrival = self._arrivals.pop()
            order = self._orders[number] = order_of(self._plan.scenario, arrival, number)
            yield order
        while self._placed and self._placed[0][0] <= now:
            yield self._placed.popleft()[1]
        while self._expiries and self._expiries[0][0] <= now:
            number = heapq.heappop(self._expiries)[1]
            yield DestroyOrder(number, self._built[number].domid)

    def place(self, order: LaunchOrder, at: Seconds) -> None:
        """An order from elsewhere, due at `at`, not before any that was placed here earlier."""
        self._orders[order.order] = order
        self._placed.append((at, order))

    def underway(self) -> Iterator[int]:
        """Orders given or placed here of whose end nothing has been heard."""
        ended = {one.order for one in self._result.outcomes if one.stage in _ENDS}
        return (number for number in self._orders if number not in ended)

    def ordered(self, order: LaunchOrder, now: Seconds, taken: bool) -> None:
        """A launch order went out at `now`; `taken` when somebody was there to take it."""
        self._result.ordered_at[order.order] = now
        if not taken:
            self._result.notes.append(f"order {order.order}: no toolstack is left to take it")
            self._failed(order.order)

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
        if outcome.stage in (Stage.REFUSED, Stage.FAILED):
            self._failed(outcome.order)
        if outcome.stage != Stage.BUILT:
            return None
        order = self._orders[outcome.order]
        self._built[outcome.order] = outcome
        if order.lifetime is not None:
            heapq.heappush(self._expiries, (outcome.time + order.lifetime, order.order))
        kind: Kind = "pv" if order.builder.startswith("pv") else "hvm"
        name = f"guest-{outcome.domid}-{outcome.incarnation}"
        identity = Identity(outcome.domid, outcome.incarnation, outcome.secret, name)
        scenario, seed = self._plan.scenario, self._plan.launches_seed
        plan = plan_built(scenario, order, self._plan.repeat, scenario.seed if seed is None else seed)
        return Resident(plan, kind, identity, outcome.frames, None, f"launch-{launch_of(order.order)}")


def farewell_notes(name: str, farewell: Farewell) -> list[str]:
    """What a toolstack that left could not undo, and what its scheme has to tell."""
    undone = [f"{name}: could not undo: {line}" for line in farewell.leftovers]
    return undone + [f"{name}: {key}: {told}" for key, told in farewell.notes.items()]
