"""The `World` of one party of a small world: every hypercall, event and timer is somebody's move.

A party has a clock of its own, which only its own sleeps move: any process may be held up for any time, so
no two timers of different parties have an order.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from heapq import heappush
from typing import Any, TypeVar

from hypervisor.core.machine import Operation
from hypervisor.core.steps import Caller
from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import DomId, Seconds
from hypervisor.tasks import Future, Loop, Task

T = TypeVar("T")


class Call:
    """A hypercall or multicall under way."""

    __slots__ = ("future", "number", "operation", "replies", "requests", "single", "world")

    def __init__(
        self, world: PartyWorld, number: int, requests: tuple[Request, ...], single: bool, future: Future[Any]
    ) -> None:
        self.world = world
        self.number = number
        self.requests = requests
        self.single = single
        self.future = future
        self.replies: list[Reply] = []
        self.operation: Operation | None = None


class PartyWorld:
    """A `public.world.World`; `begin` takes its calls."""

    def __init__(
        self, index: int, name: str, caller: Caller, loop: Loop, begin: Callable[[Call], None]
    ) -> None:
        self.index = index
        self.name = name
        self.caller = caller
        self.clock: Seconds = 0.0
        self.calls: dict[int, Call] = {}
        """Under way, by number."""
        self.timers: list[tuple[Seconds, int, Future[None]]] = []
        self.inbox: deque[tuple[int, Event]] = deque()
        """Events that have left the core and not arrived, numbered -1, -2, ...: a space of its own, because
        they set out at somebody else's move."""
        self.virqs: tuple[int, ...] = ()
        self.hears = False
        """True once it has ever waited for an event, so that timers and events race."""
        self._loop = loop
        self._begin = begin
        self._rng = random.Random(index)
        self._numbers = 0
        self._events = 0
        self._arrived: deque[Event] = deque()
        self._arrival: Future[None] | None = None

    @property
    def domid(self) -> DomId:
        """See `World.domid`."""
        return self.caller.domid

    @property
    def rng(self) -> random.Random:
        """See `World.rng`; the same stream in every schedule."""
        return self._rng

    def now(self) -> Seconds:
        """This party's own clock."""
        return self.clock

    def number(self) -> int:
        """The next number for one of its moves."""
        self._numbers += 1
        return self._numbers

    def future(self) -> Future[Any]:
        """Something one coroutine of the party can wait for and another one answer."""
        return Future(self._loop)

    def sleep(self, seconds: Seconds) -> Future[None]:
        """See `World.sleep`."""
        future: Future[None] = Future(self._loop)
        heappush(self.timers, (self.clock + seconds, self.number(), future))
        return future

    def hypercall(self, request: Request) -> Future[Reply]:
        """See `World.hypercall`."""
        return self._call((request,), True)

    def multicall(self, requests: Sequence[Request]) -> Future[tuple[Reply, ...]]:
        """See `World.multicall`."""
        return self._call(tuple(requests), False)

    def _call(self, requests: tuple[Request, ...], single: bool) -> Future[Any]:
        call = Call(self, self.number(), requests, single, Future(self._loop))
        self.calls[call.number] = call
        self._begin(call)
        return call.future

    async def next_event(self) -> Event:
        """See `World.next_event`."""
        self.hears = True
        while not self._arrived:
            if self._arrival is None or self._arrival.done():
                self._arrival = Future(self._loop)
            await self._arrival
        return self._arrived.popleft()

    async def listen(self, virqs: Sequence[int]) -> None:
        """See `World.listen`."""
        self.virqs = tuple(virqs)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """See `World.spawn`."""
        return self._loop.spawn(coroutine, name)

    def send(self, event: Event) -> None:
        """An event sets out; it arrives when it is its turn."""
        self._events -= 1
        self.inbox.append((self._events, event))

    def arrive(self) -> None:
        """The oldest event under way arrives."""
        self._arrived.append(self.inbox.popleft()[1])
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
