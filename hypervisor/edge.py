"""Where a party's coroutines meet their real process: its socket, its clock, its end.

`Edge` drives one process's guests or toolstack; `run_party` is the short way for a process with one
domain. Emulated seconds are real seconds since the run's epoch times `speed`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import ceil, inf
from types import FrameType
from typing import Final, Protocol

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay

from hypervisor.history import HistoryWriter
from hypervisor.lag import LagMeter
from hypervisor.public.points import Cells, PartyRules, PartyStops
from hypervisor.public.units import DomId, Seconds
from hypervisor.public.world import WorldCoroutine
from hypervisor.session.bad_link import BadLink, BadLinkSpec, is_answer, is_call
from hypervisor.session.client import ClientSession
from hypervisor.session.resends import Resends
from hypervisor.session.world import ClientWorld, Connection
from hypervisor.tasks import Loop, Task
from hypervisor.transport import Client, Dealer

IDLE_MS: Final = 100
"""Longest real wait: how soon a stop is noticed."""
PING_MS: Final = 500
"""Real ms between pings until a Welcome tells a lease; then a third of that, if shorter."""
PINGS_LOST: Final = 6
"""Pings in a row without any frame after which the connection is made anew."""
RECONNECT_SECONDS: Final = 10.0
"""Real seconds of trying to reconnect before the hypervisor counts as lost."""
ATTEMPT_MS: Final = 300
"""Real ms that one attempt waits for a frame."""


@dataclass(frozen=True)
class Identity:
    """Who a world speaks for."""

    domid: DomId
    incarnation: int
    secret: bytes
    name: str = ""


BEFORE_TIME: Final[Seconds] = -1.0
"""What the emulated clock shows until everybody is up and time begins."""


class SharedEpoch(Protocol):
    """A number in memory that all processes of a run share (multiprocess.RawValue)."""

    value: int


@dataclass(frozen=True)
class Clock:
    """Emulated time, the same in all processes: CLOCK_MONOTONIC is the machine's.

    `epoch_ns` is the moment at which emulated time is 0. A shared one is 0 until time begins, and the
    clock stands at `BEFORE_TIME` till then.
    """

    speed: float
    epoch_ns: int | SharedEpoch

    def now(self) -> Seconds:
        """Emulated seconds since the epoch."""
        epoch = self.epoch_ns if isinstance(self.epoch_ns, int) else self.epoch_ns.value
        return (time.monotonic_ns() - epoch) * self.speed / 1e9 if epoch else BEFORE_TIME

    def real_ms(self, seconds: Seconds) -> float:
        """How many real milliseconds that many emulated seconds are."""
        return seconds * 1000.0 / self.speed


def first_seq() -> int:
    """Microseconds since 1970, above any seq of an earlier process that spoke for the same incarnation.

    If a guest reborn after a kill counted from 1 again, the hypervisor would take its Calls for those of its
    former life and answer them from memory.
    """
    return time.time_ns() // 1000


LOOK_AGAIN: Final = 0.001
"""Real seconds between two looks of a party that is held at a point."""


def hang_stops(world: ClientWorld, rules: PartyRules, cells: Cells, speed: float) -> None:
    """Let a run stop this party at its points."""
    world.stops = PartyStops(rules, cells, world.now, lambda: world.sleep(LOOK_AGAIN * speed))


class Channel:
    """A second connection of this process, such as a toolstack's to who gives it orders."""

    def __init__(self, dealer: Dealer, on_frame: Callable[[bytes], None]) -> None:
        self.dealer = dealer
        self.on_frame = on_frame

    def send(self, frame: bytes) -> None:
        """Queue a frame."""
        self.dealer.send((frame,))


class _BadLinks:
    """Both directions of a process's link, and what sends again what they lose."""

    def __init__(self, spec: BadLinkSpec, session: ClientSession) -> None:
        self.there, self.back = BadLink(spec, "there"), BadLink(spec, "back")
        self.resends = Resends(session, spec.resend)


class Edge:
    """One process's loop around its coroutines."""

    def __init__(
        self,
        endpoint: str,
        clock: Clock,
        history: HistoryWriter | None = None,
        bad_link: BadLinkSpec | None = None,
        patience: float = 1.0,
    ) -> None:
        """Connects at once; raises `EndpointError` for an address that is none.

        `bad_link` is what Calls and their answers suffer from emulated second 0 on. With `patience` 10 nobody
        is pinged, and the beginning of time not looked for, more than a tenth as often as usual.
        """
        self._patience = patience
        self.clock = clock
        self.loop = Loop()
        self._client = Client()
        self._session = ClientSession(first_seq())
        self._connection = Connection(self.loop, self._session, clock.now, history)
        self._history = history
        self._dealer = self._client.connect(endpoint)
        self._channels: list[Channel] = []
        self._mains: list[Task[None]] = []
        self._links = None if bad_link is None else _BadLinks(bad_link, self._session)
        self._pings_lost = 0
        self._next_ping_ns = 0
        self._said = self._heard = False  # anything but a ping since pings were last thought of
        self._pinging = False
        self._wakes: int | None = None
        # When to try again; no part of the emulated world, and another one in every process.
        self._jitter = random.Random(f"{endpoint} {os.getpid()}")
        self.lag = LagMeter()
        """How much later than asked this process wakes up."""
        self.reconnects = 0
        """How often the connection was made anew."""

    def world(self, identity: Identity, rng: random.Random) -> ClientWorld:
        """Say hello as this domain; its world can be used at once."""
        one = identity
        return self._connection.world(one.domid, one.incarnation, one.secret, rng, one.name)

    def start(self, main: WorldCoroutine, world: ClientWorld, name: str) -> Task[None]:
        """Run a main coroutine; `run` returns when all of them have."""
        task = self.loop.spawn(main(world), name)
        self._mains.append(task)
        return task

    def attach(self, endpoint: str, on_frame: Callable[[bytes], None]) -> Channel:
        """Connect to somebody else as well; `on_frame` gets what arrives there."""
        channel = Channel(self._client.connect(endpoint), on_frame)
        self._channels.append(channel)
        return channel

    def wake_on(self, descriptor: int) -> None:
        """Somebody writes there when `stop` has become true: no need to get up and ask ten times a second.

        Of a thousand idle guests that is what most of the time goes to.
        """
        self._wakes = descriptor
        self._client.watch(descriptor)

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Drive everything until all mains have returned (True) or `stop()` says so (False).

        Raises what a task raised that nobody awaits.
        """
        while not stop():
            self.loop.run_ready(self.clock.now())
            self._send()
            if all(main.done() for main in self._mains):
                return True
            self._wait()
            self._keep_alive()
            if self._links is not None:
                for given_up in self._links.resends.look(self.clock.now()):
                    self._connection.deliver(given_up)
        return False

    def close(self) -> None:
        """Kill what still runs, disconnect, and close the history."""
        self.loop.close()
        self._client.close()
        if self._history is not None:
            self._history.close()

    def _wait(self) -> None:
        """Until something arrives or a timer is due; how late the clock woke us is on record."""
        timeout = self._timeout_ms()
        begun = time.monotonic_ns()
        if self._client.wait(timeout):
            self._receive()
            self._clear_wake()
        elif timeout and self.clock.now() >= 0:  # coming up is no part of the run
            self.lag.overslept(time.monotonic_ns() - begun - int(timeout * 1_000_000))

    def _timeout_ms(self) -> float:
        wait = min(self._timer_ms(), self._longest_ms())
        # Rounded up, a link of 50 us would take a millisecond like one of 500 us.
        return wait if self._links is not None else ceil(wait)

    def _timer_ms(self) -> float:
        """Real ms to the next timer; 0 when somebody can go on."""
        if self.loop.is_ready():
            return 0.0
        when = self.loop.next_timer()
        return inf if when is None else max(0.0, self.clock.real_ms(when - self.clock.now()))

    def _longest_ms(self) -> int:
        if self._wakes is None:
            return IDLE_MS
        if self.clock.now() < 0:
            return int(IDLE_MS * self._patience)
        return max(0, -((time.monotonic_ns() - self._next_ping_ns) // 1_000_000))

    def _clear_wake(self) -> None:
        if self._wakes is not None:
            with suppress(BlockingIOError):
                os.read(self._wakes, 64)

    def _send(self) -> None:
        """The history first: an invocation is on record before it can have an effect."""
        if self._history is not None:
            self._history.flush()
        if self._session.has_outgoing() or self._dealer.is_blocked():
            frames = self._session.outgoing()
            self._said, self._pinging = not self._pinging, False
            self._dealer.send(frames if self._links is None else self._at_once(frames))

    def _at_once(self, frames: list[bytes]) -> list[bytes]:
        """Those that no bad link delays or loses; of the others timers take care."""
        links, now = self._links, self.clock.now()
        if links is None or now < 0:
            return frames
        for frame in filter(is_call, frames):
            for when in links.there.fates(now):
                self.loop.call_at(when, partial(self._dealer.send, (frame,)))
        return [frame for frame in frames if not is_call(frame)]

    def _take(self, frame: bytes) -> None:
        links, now = self._links, self.clock.now()
        if links is None or now < 0 or not is_answer(frame):
            self._connection.receive(frame)
            return
        for when in links.back.fates(now):
            self.loop.call_at(when, partial(self._connection.receive, frame))

    def _receive(self) -> bool:
        frames = self._dealer.receive()
        if frames:
            self._pings_lost = 0
            self._heard = True
            receive = self._connection.receive if self._links is None else self._take
            for frame in frames:
                receive(frame)
        for channel in self._channels:
            for frame in channel.dealer.receive():
                channel.on_frame(frame)
        return bool(frames)

    # ---- liveness

    def _keep_alive(self) -> None:
        now = time.monotonic_ns()
        if now < self._next_ping_ns:
            return
        lease, period = self._connection.lease_ms, int(PING_MS * self._patience)
        self._next_ping_ns = now + 1_000_000 * (min(period, lease // 3) if lease else period)
        if self._pings_lost >= PINGS_LOST:
            self._reconnect()
        # Whoever was spoken with is known to be there, at both ends, unless the lease is too short for that.
        if not (self._said and self._heard) or 0 < lease < 4 * period:
            self._pings_lost += 1
            self._pinging = True
            self._session.ping()
        self._said = self._heard = False

    def _reconnect(self) -> None:
        """Make the connection anew until the hypervisor answers, or give it up for lost."""
        trying = Retrying(
            retry=retry_if_result(lambda heard: not heard),
            stop=stop_after_delay(RECONNECT_SECONDS),
            wait=self._pause,
            retry_error_callback=lambda _: False,
        )
        if not trying(self._attempt):
            self._connection.give_up(f"no word from {self._dealer.endpoint} any more")
        self._pings_lost = 0

    def _attempt(self) -> bool:
        self.reconnects += 1
        self._dealer.reconnect()
        self._session.reconnected()
        self._session.ping()
        self._dealer.send(self._session.outgoing())
        return self._client.wait(ATTEMPT_MS) and self._receive()

    def _pause(self, state: RetryCallState) -> float:
        """Exponential with jitter, so that a hundred guests do not knock at the same moment."""
        longest = min(1.0, 0.05 * 2**state.attempt_number)
        return self._jitter.uniform(longest / 2, longest)


def stop_on_sigterm() -> Callable[[], bool]:
    """Make SIGTERM a wish to stop, and leave SIGINT to the launcher; the result tells of it."""
    stopping = False

    def on_term(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return lambda: stopping


def descriptor_of_signals() -> int:
    """A descriptor that can be read once a signal has come; the process's main thread may ask once."""
    ours, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    return ours


def run_party(
    main: WorldCoroutine,
    *,
    endpoint: str,
    identity: Identity,
    clock: Clock,
    seed: int | str,
    history: HistoryWriter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Run one domain's coroutine in this process; True when it returned, False when stopped.

    `seed` seeds the world's random stream. Raises what the coroutine raised.
    """
    edge = Edge(endpoint, clock, history)
    try:
        world = edge.world(identity, random.Random(seed))
        edge.start(main, world, identity.name or f"domain {identity.domid}")
        return edge.run(stop)
    finally:
        edge.close()
