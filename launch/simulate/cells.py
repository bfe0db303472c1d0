"""The cells of holds and faults in virtual time: whoever waits for one is woken when one is set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypervisor.public.points import PartyRules, PartyStops
from hypervisor.tasks import Future, Loop
from launch.simulate.sim_world import SimWorld


class VirtualCells:
    """`hypervisor.public.points.Cells` in one thread."""

    def __init__(self, count: int, loop: Loop, changed: Callable[[], None]) -> None:
        """`changed` is called in the loop, soon after a cell was set."""
        self._values = [0] * count
        self._loop = loop
        self._changed = changed
        self._waiting: list[Callable[[], None]] = []

    def __getitem__(self, index: int, /) -> int:
        return self._values[index]

    def __setitem__(self, index: int, value: int, /) -> None:
        self._values[index] = value
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
        self._loop.call_soon(self._changed)

    def next_change(self, world: SimWorld) -> Future[None]:
        """Done when a cell has been set, for a party that is not stopped itself."""
        future: Future[None] = Future(self._loop)
        self._waiting.append(partial(world.arrive, partial(future.set_result, None)))
        return future

    def hang(self, world: SimWorld, rules: PartyRules) -> None:
        """Let a run stop this party at its points."""
        world.stops = PartyStops(rules, self, world.now, partial(self.next_change, world))
