"""Bad links in virtual time: the real sessions of client and hypervisor, and frames that may not arrive.

Calls, answers and refusals are bytes here and take their chances (`hypervisor.session.bad_link`); the client
sends again what is not answered, the hypervisor's session knows what it has run. Events take the plain link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from hypervisor.core.steps import Caller
from hypervisor.public.protocol import Answer, Refused
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_DOM0, Seconds
from hypervisor.public.world import IndefiniteError, RefusedByWireError
from hypervisor.session.bad_link import BadLink, BadLinkSpec, is_answer, is_call
from hypervisor.session.client import ClientSession, Happening, Indefinite
from hypervisor.session.resends import Resends
from hypervisor.session.server import ServerSession
from hypervisor.session.speakers import Role, RunningCall, domain_secret
from launch.simulate.calls import SimCall
from launch.simulate.liveness import is_alive
from launch.simulate.sim_world import SimWorld
from launch.simulate.world import Simulator

HOST_KEY: Final = b"nobody guesses secrets in virtual time"
NEVER_LEASED: Final = 0

Note = Callable[[str, Mapping[str, Any]], None]
"""Told of what the hypervisor's session notes: kind, fields."""


class Wires:
    """The hypervisor's end of all bad links of a run."""

    def __init__(self, simulator: Simulator, release: str, note: Note) -> None:
        self.simulator = simulator
        self._note = note
        self._wires: dict[bytes, BadWire] = {}
        self._session = ServerSession(
            host_key=HOST_KEY,
            control_secret=HOST_KEY,
            is_alive=lambda domid, incarnation: is_alive(simulator.machine, Caller(domid, incarnation)),
            release=release,
            lease_ms=NEVER_LEASED,
        )

    @property
    def repeated(self) -> int:
        """Calls that reached the hypervisor again and were not run twice."""
        return self._session.repeated

    def connect(self, world: SimWorld, spec: BadLinkSpec) -> None:
        """From now on the calls of that party go over a bad link."""
        routing = b"%d" % len(self._wires)
        caller = world.caller
        wire = BadWire(self, world, routing, spec)
        self._wires[routing] = wire
        world.wire = wire
        secret = (
            HOST_KEY
            if caller.domid == DOMID_DOM0
            else domain_secret(HOST_KEY, caller.domid, caller.incarnation)
        )
        wire.hello(secret)

    def take(self, role: Role, routing: bytes, frame: bytes) -> None:
        """A frame has reached the hypervisor."""
        running = self._session.receive(role, routing, frame, self._now_ms())
        if running is not None:
            self._begin(running, running.requests[0])
        self.flush()

    def _begin(self, running: RunningCall, request: Request) -> None:
        replied = partial(self._replied, running)
        self.simulator.submit(Caller(*running.key), request, (replied, self.domains_gone))

    def _replied(self, running: RunningCall, reply: Reply) -> None:
        following = self._session.replied(running, reply)
        if following is not None:
            self._begin(running, following)
        self.flush()

    def domains_gone(self) -> None:
        """A domain died: its unanswered calls are refused."""
        self._session.domains_gone(self._now_ms())
        self.flush()

    def flush(self) -> None:
        """Send what the session has to say."""
        notes, self._session.notes = self._session.notes, []
        for note in notes:
            self._note(note.kind, note.fields)
        outbox, self._session.outbox = self._session.outbox, []
        for _, routing, frame, _ in outbox:
            self._wires[routing].answer(frame)

    def _now_ms(self) -> int:
        return max(0, round((self.simulator.now + 1) * 1000))


class BadWire:
    """One party's link, and its end of it. A `launch.simulate.world.Wire`."""

    def __init__(self, wires: Wires, world: SimWorld, routing: bytes, spec: BadLinkSpec) -> None:
        self._wires = wires
        self._world = world
        self._routing = routing
        self._role = Role.TOOLSTACKS if world.caller.domid == DOMID_DOM0 else Role.GUESTS
        self._session = ClientSession()
        self._resends = Resends(self._session, spec.resend)
        self._there, self._back = BadLink(spec, "there"), BadLink(spec, "back")
        self._calls: dict[int, SimCall] = {}
        self._look_at: Seconds | None = None

    def hello(self, secret: bytes) -> None:
        """Make oneself known."""
        self._session.hello(*self._key, secret)
        self._flush()

    @property
    def _key(self) -> tuple[int, int]:
        return self._world.caller.domid, self._world.caller.incarnation

    def send(self, call: SimCall) -> None:
        """Take a call from its party."""
        try:
            seq = self._session.call(*self._key, call.requests)
        except RefusedByWireError as error:
            self._wires.simulator.delivered(call, error)
            return
        self._calls[seq] = call
        self._flush()

    def domain_died(self) -> None:
        """Some domain did; the hypervisor's session finds out whose calls that ends."""
        self._wires.domains_gone()

    def answer(self, frame: bytes) -> None:
        """The hypervisor sends a frame."""
        take = partial(self._world.arrive, partial(self._received, frame))
        if is_answer(frame):
            self._carry(self._back, take)
        else:
            take()

    def _flush(self) -> None:
        """Send what the session has to say, and look again when something of it may be lost."""
        for frame in self._session.outgoing():
            take = partial(self._wires.take, self._role, self._routing, frame)
            if is_call(frame):
                self._carry(self._there, take)
            else:
                take()
        self._look()

    def _carry(self, link: BadLink, take: Callable[[], None]) -> None:
        simulator = self._wires.simulator
        for when in link.fates(simulator.now):
            simulator.loop.call_at(when, take)

    def _received(self, frame: bytes) -> None:
        for happening in self._session.receive(frame):
            self._settle(happening)
        self._flush()

    def _settle(self, happening: Happening) -> None:
        error: RefusedByWireError | IndefiniteError | None = None
        if isinstance(happening, Refused):
            error = RefusedByWireError(happening.error, happening.text)
        elif isinstance(happening, Indefinite):
            error = IndefiniteError(happening.text)
        elif not isinstance(happening, Answer):
            return
        call = self._calls.pop(happening.seq, None)
        if call is None:
            return
        if isinstance(happening, Answer):
            call.replies = list(happening.replies)
        self._wires.simulator.delivered(call, error)

    # ---- sending again

    def _look(self) -> None:
        """Note what waits for an answer, and send again what has waited too long."""
        simulator = self._wires.simulator
        for given_up in self._resends.look(simulator.now):
            self._settle(given_up)
        if self._session.has_outgoing():
            self._flush()
            return
        due = self._resends.next_look()
        if due is not None and (self._look_at is None or due < self._look_at):
            self._look_at = due
            simulator.loop.call_at(due, partial(self._world.arrive, self._looked))

    def _looked(self) -> None:
        self._look_at = None
        self._look()
