"""`World` over the wire: what a guest's or toolstack's coroutines await becomes Calls, and answers wake them.

One `Connection` serves every domain of its process; each has its own `ClientWorld`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from hypervisor.public.points import Stops
from hypervisor.public.protocol import Answer, Notify, Pong, Refused, Welcome
from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import DomId, Seconds
from hypervisor.public.world import IndefiniteError, RefusedByWireError
from hypervisor.session.client import ClientSession, Happening, HelloRefused, Indefinite
from hypervisor.tasks import Future, Loop, Task

T = TypeVar("T")


class HistorySink(Protocol):
    """Who records when calls were made and answered. The sink reads the clock, so nobody here does."""

    def invoked(self, domid: DomId, incarnation: int, seq: int, requests: tuple[Request, ...]) -> None:
        """The Call was handed over for sending."""
        ...

    def returned(self, domid: DomId, incarnation: int, seq: int, replies: tuple[Reply, ...] | str) -> None:
        """Its outcome: the replies, a `WireError` value (no effect), or "" (indefinite)."""
        ...


class Connection:
    """The worlds of one process, over one `ClientSession`."""

    def __init__(
        self,
        loop: Loop,
        session: ClientSession,
        clock: Callable[[], Seconds],
        history: HistorySink | None = None,
    ) -> None:
        """`clock` gives emulated seconds since the run began."""
        self.loop = loop
        self.session = session
        self.clock = clock
        self._history = history
        self._worlds: dict[tuple[int, int], ClientWorld] = {}
        self.lease_ms = 0
        """The shortest lease any Welcome told, real ms; 0 before, or when there is none."""
        self.pongs = 0
        """Pongs received so far."""

    def world(
        self, domid: DomId, incarnation: int, secret: bytes, rng: random.Random, name: str = ""
    ) -> ClientWorld:
        """Say hello for a domain and give its world, which can be used at once."""
        self.session.hello(domid, incarnation, secret, name)
        world = ClientWorld(self, domid, incarnation, rng)
        self._worlds[domid, incarnation] = world
        return world

    def receive(self, frame: bytes) -> None:
        """Deliver a frame from the hypervisor. Whoever it wakes runs in the loop's next `run_ready`."""
        for happening in self.session.receive(frame):
            self.deliver(happening)

    def deliver(self, happening: Happening) -> None:
        """Wake whoever waits for this."""
        match happening:
            case Answer():
                self._settle(happening, happening.replies)
            case Refused() | Indefinite():
                self._refuse(happening)
            case HelloRefused():
                world = self._worlds.get((happening.domid, happening.incarnation))
                if world is not None:
                    world.hello_refused(RefusedByWireError(happening.error, happening.text))
            case Notify():
                world = self._worlds.get((happening.domid, happening.incarnation))
                if world is not None:
                    world.notify(happening.event)
            case Welcome():
                if happening.lease_ms:
                    self.lease_ms = min(self.lease_ms or happening.lease_ms, happening.lease_ms)
            case Pong():
                self.pongs += 1
                for world in self._worlds.values():
                    world.confirm(happening.nonce)

    def give_up(self, text: str) -> None:
        """The hypervisor cannot be reached any more: raise in everyone who waits for an answer."""
        for happening in self.session.lost(text):
            self.deliver(happening)

    def invoked(self, world: ClientWorld, seq: int, requests: tuple[Request, ...]) -> None:
        """Record a Call's invocation. Called by worlds."""
        if self._history is not None:
            self._history.invoked(world.domid, world.incarnation, seq, requests)

    def _settle(self, what: Answer | Refused | Indefinite, replies: tuple[Reply, ...] | str) -> None:
        world = self._worlds.get((what.domid, what.incarnation))
        if world is None:
            return
        if self._history is not None:
            self._history.returned(what.domid, what.incarnation, what.seq, replies)
        if isinstance(what, Answer):
            world.answered(what.seq, what.replies)
        elif isinstance(what, Refused):
            world.failed(what.seq, RefusedByWireError(what.error, what.text))
        else:
            world.failed(what.seq, IndefiniteError(what.text))

    def _refuse(self, what: Refused | Indefinite) -> None:
        if what.seq >= 0:
            self._settle(what, what.error if isinstance(what, Refused) else "")
            return
        world = self._worlds.get((what.domid, what.incarnation))
        if world is not None and isinstance(what, Refused):
            world.listen_refused(RefusedByWireError(what.error, what.text))


class ClientWorld:
    """A `public.world.World` whose hypercalls cross the wire; the call is under way when it returns."""

    def __init__(self, connection: Connection, domid: DomId, incarnation: int, rng: random.Random) -> None:
        self._connection = connection
        self._loop = connection.loop
        self._domid = domid
        self._incarnation = incarnation
        self._rng = rng
        self._single: dict[int, Future[Reply]] = {}
        self._several: dict[int, Future[tuple[Reply, ...]]] = {}
        self._events: deque[Event] = deque()
        self._arrival: Future[None] | None = None
        self._listening: deque[tuple[int, Future[None]]] = deque()
        self._refusal: RefusedByWireError | None = None
        self.stops: Stops | None = None
        """What may stop this party at its points (`hypervisor.public.points`)."""

    @property
    def domid(self) -> DomId:
        """The domain this world speaks for; 0 for a toolstack."""
        return self._domid

    @property
    def incarnation(self) -> int:
        """The incarnation it speaks for."""
        return self._incarnation

    @property
    def rng(self) -> random.Random:
        """This party's own random stream, seeded by the scenario."""
        return self._rng

    def now(self) -> Seconds:
        """Emulated seconds since the run began."""
        return self._connection.clock()

    def sleep(self, seconds: Seconds) -> Future[None]:
        """Resume after `seconds` emulated seconds (0: after everything now runnable)."""
        return self._loop.sleep_until(self._connection.clock() + seconds)

    def hypercall(self, request: Request) -> Future[Reply]:
        """One request; it is sent at once, awaited or not, so that several can be in flight."""
        future: Future[Reply] = Future(self._loop)
        self._send((request,), self._single, future)
        return future

    def multicall(self, requests: Sequence[Request]) -> Future[tuple[Reply, ...]]:
        """Several requests in one message, run in order; others may run between them."""
        future: Future[tuple[Reply, ...]] = Future(self._loop)
        self._send(tuple(requests), self._several, future)
        return future

    def _send(self, requests: tuple[Request, ...], pending: dict[int, Future[T]], future: Future[T]) -> None:
        if self._refusal is not None:
            future.set_exception(self._refusal)
            return
        try:
            seq = self._connection.session.call(self._domid, self._incarnation, requests)
        except RefusedByWireError as error:
            future.set_exception(error)
            return
        pending[seq] = future
        self._connection.invoked(self, seq, requests)

    async def next_event(self) -> Event:
        """The next VIRQ or xenstore watch event, in order of arrival."""
        while not self._events:
            if self._arrival is None or self._arrival.done():
                self._arrival = Future(self._loop)
            await self._arrival
        return self._events.popleft()

    async def listen(self, virqs: Sequence[int]) -> None:
        """Have these VIRQs delivered to `next_event`; returns when the hypervisor does so."""
        if self._refusal is not None:
            raise self._refusal
        session = self._connection.session
        session.listen(self._domid, self._incarnation, virqs)
        confirmed: Future[None] = Future(self._loop)
        # Listen itself has no answer; the Pong of a Ping sent behind it says it was accepted.
        self._listening.append((session.ping(), confirmed))
        await confirmed

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Run a sibling concurrently. An exception nobody awaits ends the party with that exception."""
        return self._loop.spawn(coroutine, name)

    # ---- the connection's side

    def answered(self, seq: int, replies: tuple[Reply, ...]) -> None:
        """The hypervisor answered the Call `seq`."""
        single = self._single.pop(seq, None)
        if single is None:
            self._several.pop(seq).set_result(replies)
        elif len(replies) == 1:
            single.set_result(replies[0])
        else:
            single.set_exception(IndefiniteError(f"{len(replies)} replies to one request"))

    def failed(self, seq: int, error: Exception) -> None:
        """The Call `seq` was refused, or its answer lost."""
        pending = self._single.pop(seq, None) or self._several.pop(seq)
        pending.set_exception(error)

    def notify(self, event: Event) -> None:
        """An event arrived."""
        self._events.append(event)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def confirm(self, nonce: int) -> None:
        """Everything sent before the Ping `nonce` has been read."""
        while self._listening and self._listening[0][0] <= nonce:
            self._listening.popleft()[1].set_result(None)

    def listen_refused(self, error: RefusedByWireError) -> None:
        """The oldest Listen not confirmed yet was refused."""
        if self._listening:
            self._listening.popleft()[1].set_exception(error)

    def hello_refused(self, error: RefusedByWireError) -> None:
        """The Hello was refused: every later call is refused in its words."""
        self._refusal = error
        while self._listening:
            self.listen_refused(error)
