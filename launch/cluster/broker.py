"""Who decides on which of several hosts a launch is tried, and where next when that came to nothing.

No clock and no socket: whoever runs the hosts tells the time, carries the orders and says how they ended.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypervisor.public.orders import LaunchOrder
from hypervisor.public.units import Pages, Seconds
from launch.arrivals.arrival import Arrival
from launch.cluster.cluster_plan import ClusterPlan
from launch.cluster.orders import launch_of, order_of
from launch.cluster.policies import Patience, View, choose
from launch.cluster.streams import stream


@dataclass(frozen=True, slots=True)
class Attempt:
    """One order: a launch tried on a host."""

    order: LaunchOrder
    host: str
    at: Seconds


@dataclass(slots=True)
class Fate:
    """One launch and everything tried for it."""

    number: int
    arrival: Arrival
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    given_up: bool = False
    """No attempt is left, or no host."""


class Broker:
    """The launches of one run over all hosts."""

    def __init__(self, plan: ClusterPlan) -> None:
        self._plan = plan
        self._table = plan.scenario.placement
        self._rng = stream(plan.scenario.seed, plan.repeat, "placement")
        self._patience = Patience(
            self._table, stream(plan.scenario.seed, plan.repeat, "waits between attempts")
        )
        self.fates = {number: Fate(number, one) for number, one in enumerate(plan.arrivals, start=1)}
        self._due = [(fate.arrival.t, fate.number) for fate in self.fates.values()]
        heapq.heapify(self._due)
        self._hosts = [host.scenario.host.name for host in plan.hosts]
        self._free: dict[str, Pages] = {}

    def next_due(self) -> Seconds | None:
        """The emulated second of the next attempt; None when there is none to come as things stand."""
        return self._due[0][0] if self._due else None

    def due(self, now: Seconds) -> Iterator[Attempt]:
        """The orders to be given by `now`; each comes once."""
        while self._due and self._due[0][0] <= now:
            fate = self.fates[heapq.heappop(self._due)[1]]
            attempt = self._place(fate, now)
            if attempt is not None:
                yield attempt

    def _place(self, fate: Fate, now: Seconds) -> Attempt | None:
        view = View(self._hosts, self._free)
        tried = [attempt.host for attempt in fate.attempts]
        host = choose(self._table, view, fate.arrival.pages, tried, self._rng)
        if host is None:
            fate.given_up = True
            return None
        order = order_of(self._plan.scenario, fate.arrival, fate.number, len(tried) + 1)
        attempt = Attempt(order, host, now)
        fate.attempts.append(attempt)
        return attempt

    def answered(self, host: str, free: Pages) -> None:
        """A host said how much memory is free beside claims."""
        self._free[host] = free

    def failed(self, order: int, now: Seconds) -> None:
        """That order was refused, failed late, or found nobody to take it."""
        fate = self.fates[launch_of(order)]
        if fate.attempts[-1].order.order != order:
            return
        wait = self._patience.wait(len(fate.attempts))
        if wait is None:
            fate.given_up = True
        else:
            heapq.heappush(self._due, (now + wait, fate.number))

    def lost(self, host: str, underway: Iterator[int], now: Seconds) -> None:
        """That host is gone, and with it the orders under way there."""
        self._hosts.remove(host)
        for order in underway:
            self.failed(order, now)
