"""A party's world in virtual time: what it awaits becomes calls of the simulator and wakes at its moment."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from hypervisor.core.steps import Caller
from hypervisor.public.errors import WireError
from hypervisor.public.points import Stops
from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import DOMID_DOM0, DomId, Seconds
from hypervisor.public.world import RefusedByWireError
from hypervisor.tasks import Future, Loop, Task
from launch.simulate.calls import SimCall, Wire

T = TypeVar("T")


class Surroundings(Protocol):
    """Where a party lives: a `launch.simulate.world.Simulator`."""

    loop: Loop
    now: Seconds
    """Emulated, since the run began."""

    def begin(self, call: SimCall) -> None:
        """Take a call from its party."""
        ...


class SimWorld:
    """A `public.world.World` inside a `Simulator`."""

    def __init__(self, simulator: Surroundings, caller: Caller, rng: random.Random) -> None:
        self.caller = caller
        self.virqs: tuple[int, ...] = ()
        self.wire: Wire | None = None
        """Its link, where that is more than a delay."""
        self.listens = True
        """Whether it learns at once of whatever arrives: neither stopped nor killed."""
        self._simulator = simulator
        self._rng = rng
        self._seq = 0
        self._tasks: list[Task[Any]] = []
        self._killed = False
        self._stopped = False
        self._arrived: deque[Callable[[], None]] = deque()
        self.stops: Stops | None = None
        """What may stop this party at its points (`hypervisor.public.points`)."""
        self._events: deque[Event] = deque()
        self._arrival: Future[None] | None = None

    @property
    def domid(self) -> DomId:
        """The domain this world speaks for; 0 for a toolstack."""
        return self.caller.domid

    @property
    def rng(self) -> random.Random:
        """This party's own random stream."""
        return self._rng

    def now(self) -> Seconds:
        """Emulated seconds since the run began."""
        return self._simulator.now

    def sleep(self, seconds: Seconds) -> Future[None]:
        """Resume after `seconds` emulated seconds (0: after everything now runnable)."""
        loop = self._simulator.loop
        future: Future[None] = Future(loop)
        loop.call_at(self._simulator.now + seconds, partial(self._wake, future))
        return future

    def hypercall(self, request: Request) -> Future[Reply]:
        """One request; it is under way at once, awaited or not."""
        return self._begin((request,), True)

    def multicall(self, requests: Sequence[Request]) -> Future[tuple[Reply, ...]]:
        """Several requests in one message, run in order; others may run between them."""
        return self._begin(tuple(requests), False)

    def _begin(self, requests: tuple[Request, ...], single: bool) -> Future[Any]:
        simulator = self._simulator
        future: Future[Any] = Future(simulator.loop)
        if not self._killed:  # a `finally` of a killed task must not act any more
            self._seq += 1
            simulator.begin(SimCall(self, self._seq, requests, future, single, []))
        return future

    async def next_event(self) -> Event:
        """The next VIRQ or xenstore watch event, in order of arrival."""
        while not self._events:
            if self._arrival is None or self._arrival.done():
                self._arrival = Future(self._simulator.loop)
            await self._arrival
        return self._events.popleft()

    async def listen(self, virqs: Sequence[int]) -> None:
        """Have these VIRQs delivered to `next_event` (control domain only)."""
        if self.domid != DOMID_DOM0:
            text = "VIRQs go to the control domain only"
            raise RefusedByWireError(WireError.NOT_PERMITTED.value, text)
        self.virqs = tuple(virqs)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Run a sibling concurrently. An exception nobody awaits leaves `Simulator.run`."""
        task = self._simulator.loop.spawn(coroutine, name)
        self._tasks = [one for one in self._tasks if not one.done()]
        self._tasks.append(task)
        return task

    def owns(self, task: Task[Any] | None) -> bool:
        """True when that task was started here and nothing has been started since it ended."""
        return task in self._tasks

    def arrive(self, wake: Callable[[], None]) -> None:
        """Something for this party: it learns of it now, when it is resumed, or never."""
        if self._stopped:
            self._arrived.append(wake)
        elif not self._killed:
            wake()

    def _wake(self, sleeper: Future[None]) -> None:
        if self.listens:
            sleeper.set_result(None)
        else:
            self.arrive(partial(sleeper.set_result, None))

    def stop(self) -> None:
        """SIGSTOP: nobody of it moves, and whatever comes for it waits."""
        self._stopped, self.listens = True, False

    def resume(self) -> None:
        """SIGCONT: it learns of everything that came meanwhile, in that order."""
        self._stopped, self.listens = False, not self._killed
        while self._arrived and not self._stopped:
            self.arrive(self._arrived.popleft())

    def notify(self, event: Event) -> None:
        """An event arrived."""
        self.arrive(partial(self._notified, event))

    def _notified(self, event: Event) -> None:
        self._events.append(event)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def kill(self) -> None:
        """End every task where it stands; `Simulator.kill` calls this."""
        self._killed, self.listens = True, False
        for task in self._tasks:
            task.kill()
