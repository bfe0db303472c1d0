"""Both halves of the exchange together, without a socket: worlds, exactly-once over a wire that breaks."""

from __future__ import annotations

import random

import pytest

from hypervisor.public.domctl import MaxMem
from hypervisor.public.errors import WireError
from hypervisor.public.requests import Reply, Request, VirqEvent, WatchEvent
from hypervisor.public.world import CancelledError, IndefiniteError, RefusedByWireError, World
from hypervisor.session.client import ClientSession
from hypervisor.session.server import ServerSession
from hypervisor.session.speakers import Role, RunningCall, domain_secret
from hypervisor.session.world import ClientWorld, Connection
from hypervisor.tasks import Loop

KEY = b"k" * 32
CONTROL = b"control"


class History:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.invocations: list[int] = []
        self.returns: list[tuple[int, object]] = []

    def invoked(self, domid: int, incarnation: int, seq: int, requests: tuple[Request, ...]) -> None:
        self.invocations.append(seq)

    def returned(self, domid: int, incarnation: int, seq: int, replies: tuple[Reply, ...] | str) -> None:
        self.returns.append((seq, replies))


class Wire:
    """A client and a server with a link between them that the test can break."""

    def __init__(self, role: Role = Role.GUESTS, credits: int = 4) -> None:
        self.server = ServerSession(
            host_key=KEY,
            control_secret=CONTROL,
            is_alive=lambda domid, incarnation: (domid, incarnation) in {(5, 1), (6, 2)},
            release="4.17",
            credits=credits,
        )
        self.role = role
        self.loop = Loop()
        self.time = 0.0
        self.session = ClientSession()
        self.history = History()
        self.connection = Connection(self.loop, self.session, lambda: self.time, self.history)
        self.routing = 1
        self.to_server: list[bytes] = []
        self.to_client: list[bytes] = []
        self.running: list[RunningCall] = []
        self.executed: list[Request] = []

    def world(self, domid: int = 5, incarnation: int = 1, secret: bytes | None = None) -> ClientWorld:
        proper = CONTROL if domid == 0 else domain_secret(KEY, domid, incarnation)
        return self.connection.world(
            domid, incarnation, proper if secret is None else secret, random.Random(1)
        )

    def client_moves(self) -> None:
        self.loop.run_ready(self.time)
        self.to_server += self.session.outgoing()

    def server_moves(self, limit: int | None = None) -> None:
        """Take in frames, execute, answer; a reply is 1000 + what was asked for."""
        taken, self.to_server = self.to_server[:limit], self.to_server[len(self.to_server[:limit]) :]
        for frame in taken:
            call = self.server.receive(self.role, bytes([self.routing]), frame, 0)
            if call is not None:
                self.running.append(call)
        for call in self.running:
            request: Request | None = call.requests[0]
            while request is not None:
                self.executed.append(request)
                assert isinstance(request, MaxMem)
                count = len(self.executed)
                request = self.server.replied(call, Reply(1000 + request.max_memkb, count, count))
        self.running.clear()
        outbox, self.server.outbox = self.server.outbox, []
        current = bytes([self.routing])
        self.to_client += [frame for _, routing, frame, _ in outbox if routing == current]

    def deliver(self) -> None:
        frames, self.to_client = self.to_client, []
        for frame in frames:
            self.connection.receive(frame)

    def run(self) -> None:
        """Until both sides are quiet."""
        while True:
            self.client_moves()
            if not self.to_server:
                return
            self.server_moves()
            self.deliver()

    def breaks(self, *, told: bool) -> None:
        """Everything on the way is lost; the server sees a new peer, the client perhaps nothing."""
        self.to_server.clear()
        self.to_client.clear()
        self.routing += 1
        if told:
            self.session.reconnected()


def test_hypercalls_are_under_way_before_they_are_awaited() -> None:
    """Several calls can be in flight at once and are answered in order of execution."""
    wire = Wire()
    world: World = wire.world()
    seen: list[int] = []

    async def main() -> None:
        calls = [world.hypercall(MaxMem(5, number)) for number in range(10)]
        assert wire.session.in_flight() == 10
        for call in calls:
            seen.append((await call).ret)
        seen.extend(reply.ret for reply in await world.multicall([MaxMem(5, 1), MaxMem(5, 2)]))

    task = wire.loop.spawn(main(), "main")
    wire.run()
    task.result()
    assert seen == [*range(1000, 1010), 1001, 1002]
    assert wire.history.invocations == [seq for seq, _ in wire.history.returns] == list(range(1, 12))


@pytest.mark.parametrize("seed", range(40))
def test_every_call_runs_exactly_once_over_a_breaking_wire(seed: int) -> None:
    """However often the wire breaks, noticed or not, each call runs once and its answer arrives."""
    chance = random.Random(seed)
    wire = Wire(credits=3)
    worlds = [wire.world(5, 1), wire.world(6, 2)]
    answers: list[tuple[int, int]] = []

    async def party(world: ClientWorld) -> None:
        for number in range(0, 40, 4):
            calls = [world.hypercall(MaxMem(world.domid, number + n)) for n in range(4)]
            for call in calls:
                answers.append((world.domid, (await call).ret))

    tasks = [wire.loop.spawn(party(world), str(world.domid)) for world in worlds]
    for _ in range(10_000):
        wire.client_moves()
        wire.server_moves(chance.randrange(6))
        if chance.random() < 0.8:
            wire.deliver()
        if chance.random() < 0.1:
            wire.breaks(told=chance.random() < 0.5)
        if chance.random() < 0.2:
            wire.session.ping()
        if all(task.done() for task in tasks):
            break
    for task in tasks:
        task.result()
    for domid in (5, 6):
        assert [ret for who, ret in answers if who == domid] == list(range(1000, 1040))
        ran = [r.max_memkb for r in wire.executed if isinstance(r, MaxMem) and r.domid == domid]
        assert ran == list(range(40))


def test_a_lost_answer_is_indefinite_a_refusal_is_not() -> None:
    """Giving up raises IndefiniteError for what was sent and RefusedByWireError for what was not."""
    wire = Wire(credits=1)
    world = wire.world()
    wire.run()
    ends: list[object] = []

    async def ask(number: int) -> None:
        try:
            await world.hypercall(MaxMem(5, number))
        except IndefiniteError:
            ends.append("indefinite")
        except RefusedByWireError as error:
            ends.append(error.error)

    for number in range(2):
        wire.loop.spawn(ask(number), str(number))
    wire.client_moves()
    wire.connection.give_up("the machine burnt down")
    wire.client_moves()
    assert ends == ["indefinite", "unknown-peer"]
    assert [outcome for _, outcome in wire.history.returns] == ["", "unknown-peer"]


def test_a_refused_hello_refuses_every_call() -> None:
    """With a wrong secret each call, before and after the refusal, raises in the hello's words."""
    wire = Wire()
    world = wire.world(secret=b"wrong")
    ends: list[str] = []

    async def main() -> None:
        for _ in range(2):
            try:
                await world.hypercall(MaxMem(5, 1))
            except RefusedByWireError as error:
                ends.append(error.error)
        with pytest.raises(RefusedByWireError):
            await world.listen((3,))

    task = wire.loop.spawn(main(), "main")
    wire.run()
    task.result()
    assert ends == [WireError.BAD_SECRET.value] * 2


def test_listen_returns_when_the_virqs_come() -> None:
    """listen() returns only once the hypervisor delivers; events keep their order; a guest is refused."""
    wire = Wire(Role.TOOLSTACKS)
    world = wire.world(0, 99)
    events = [VirqEvent(3, 7, 1), WatchEvent("/a", "t", 2), VirqEvent(3, 8, 3)]
    seen: list[object] = []

    async def main() -> None:
        await world.listen((3,))
        seen.append("listening")
        seen.extend([await world.next_event() for _ in range(3)])

    task = wire.loop.spawn(main(), "main")
    wire.client_moves()
    assert seen == []
    wire.run()
    assert seen == ["listening"]
    for event in events:
        if isinstance(event, VirqEvent):
            wire.server.emit_virq(3, event)
        else:
            wire.server.emit((0, 99), event)
    wire.server_moves()
    wire.deliver()
    wire.run()
    task.result()
    assert seen[1:] == events

    guest_wire = Wire()
    guest = guest_wire.world()
    refused = guest_wire.loop.spawn(guest.listen((3,)), "listen")

    async def outer() -> None:
        with pytest.raises(RefusedByWireError, match="not-permitted"):
            await refused

    outer_task = guest_wire.loop.spawn(outer(), "outer")
    guest_wire.run()
    outer_task.result()


def test_a_cancelled_wait_for_an_event_swallows_none() -> None:
    """An event that comes after its waiter was cancelled is there for the next one."""
    wire = Wire()
    world = wire.world()
    wire.run()
    seen: list[object] = []

    async def wait() -> None:
        try:
            seen.append(await world.next_event())
        except CancelledError:
            seen.append("cancelled")
            raise

    first = wire.loop.spawn(wait(), "first")
    wire.client_moves()
    first.cancel()
    event = WatchEvent("/a", "t", 1)
    wire.server.emit((5, 1), event)
    wire.server_moves()
    wire.deliver()
    wire.client_moves()
    wire.loop.spawn(wait(), "second")
    wire.client_moves()
    assert seen == ["cancelled", event]


def test_sleep_is_emulated_time() -> None:
    """sleep() ends when the connection's clock says so."""
    wire = Wire()
    world = wire.world()
    woke: list[float] = []

    async def main() -> None:
        await world.sleep(60.0)
        woke.append(world.now())

    wire.loop.spawn(main(), "main")
    for wire.time in (0.0, 59.9, 60.5):
        wire.client_moves()
    assert woke == [60.5]
