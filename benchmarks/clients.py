"""Client processes that send prepared Calls and count the answers: the same ones for figure and anchor."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import zmq

from benchmarks.hosts import Identity, piped
from benchmarks.mix import FIRST_REQUEST
from hypervisor.public.protocol import PROTOCOL_VERSION, Call, Hello, encode
from hypervisor.public.requests import Request
from hypervisor.transport import set_common

SETTLE_SECONDS: Final = 0.15
"""From the order to begin until everybody begins."""
_MARK: Final = 0xFFFF_FFFE
_PACK: Final = struct.Struct(">I").pack
_ANSWER: Final = 2
"""Tag of an Answer, and of a Call: an echo's frame passes too."""

Measured = tuple[int, list[int]]
"""(answers within the time, nanoseconds of each round trip when one is in flight)."""


class CallFrames:
    """A domain's Calls as bytes, one after the other for ever; only the sequence number differs."""

    def __init__(self, identity: Identity, calls: Sequence[tuple[Request, ...]]) -> None:
        frames = [encode(Call(identity.domid, identity.incarnation, _MARK, requests)) for requests in calls]
        self._parts = [frame.split(b"\xce" + _PACK(_MARK)) for frame in frames]
        self._seq = 1  # that of FIRST_REQUEST

    def __next__(self) -> bytes:
        head, tail = self._parts[self._seq % len(self._parts)]
        self._seq += 1
        return b"%b\xce%b%b" % (head, _PACK(self._seq), tail)


class Connected:
    """A DEALER at one endpoint that has said hello, if there is anybody who listens to hellos."""

    def __init__(self, zmq_context: Any, endpoint: str, identity: Identity, hello: bool) -> None:
        self._socket: Any = zmq_context.socket(zmq.DEALER)
        set_common(self._socket)
        self._socket.connect(endpoint)
        if hello:
            word = Hello(PROTOCOL_VERSION, identity.domid, identity.incarnation, identity.secret)
            self._socket.send(encode(word))
            self._socket.recv()
            self._socket.send(encode(Call(identity.domid, identity.incarnation, 1, (FIRST_REQUEST,))))
            answered(self._socket.recv())

    def lockstep(self, frames: CallFrames, begin: float, seconds: float) -> Measured:
        """One Call in flight. `begin` and the end are on the machine's monotonic clock.

        Who is held up beyond the end sends one all the same: a rate of 0 is none.
        """
        send, recv, clock = self._socket.send, self._socket.recv, time.monotonic_ns
        stop = int((begin + seconds) * 1e9)
        times: list[int] = []
        before = clock()
        while before < stop or not times:
            send(next(frames))
            answered(recv())
            after = clock()
            times.append(after - before)
            before = after
        return len(times), times

    def pipelined(self, frames: CallFrames, window: int, begin: float, seconds: float) -> Measured:
        """`window` Calls in flight. What is unanswered at the end is waited for, and not counted."""
        send, recv, noblock = self._socket.send, self._socket.recv, int(zmq.NOBLOCK)
        stop, count = begin + seconds, 0
        for _ in range(window):
            send(next(frames))
        while time.monotonic() < stop:
            answered(recv())
            free = 1
            try:
                while True:
                    answered(recv(noblock))
                    free += 1
            except zmq.Again:
                pass
            count += free
            for _ in range(free):
                send(next(frames))
        for _ in range(window):
            recv()
        return count, []


def answered(frame: bytes) -> None:
    """RuntimeError for a frame that answers nothing: a refusal must not count."""
    if frame[1] != _ANSWER:
        raise RuntimeError(f"refused: {msgspec.msgpack.decode(frame)}")


@dataclass(frozen=True)
class Run:
    """One order to every client: which endpoint, how, when."""

    endpoint: int
    window: int
    begin: float
    seconds: float


def client_process(pipe: Any, endpoints: Sequence[tuple[str, bool]], identity: Identity, calls: Any) -> None:
    """Main function: connect everywhere, then measure as ordered until the pipe closes."""
    zmq_context = zmq.Context()
    connected = [Connected(zmq_context, endpoint, identity, hello) for endpoint, hello in endpoints]
    frames = [CallFrames(identity, calls) for _ in endpoints]
    pipe.send("ready")
    while True:
        try:
            run: Run = pipe.recv()
        except EOFError:
            return
        time.sleep(max(0.0, run.begin - time.monotonic()))
        one, mine = connected[run.endpoint], frames[run.endpoint]
        if run.window == 1:
            pipe.send(one.lockstep(mine, run.begin, run.seconds))
        else:
            pipe.send(one.pipelined(mine, run.window, run.begin, run.seconds))


class Clients:
    """Client processes, connected to each of the endpoints."""

    def __init__(self, pipes: list[Any]) -> None:
        self._pipes = pipes

    def run(self, endpoint: int, window: int, seconds: float) -> list[Measured]:
        """Let all of them send to one endpoint for so long."""
        self.order(endpoint, window, seconds)
        return self.measured()

    def order(self, endpoint: int, window: int, seconds: float) -> None:
        """The same without waiting for the end, so that others can be ordered, too."""
        order = Run(endpoint, window, time.monotonic() + SETTLE_SECONDS, seconds)
        for pipe in self._pipes:
            pipe.send(order)

    def measured(self) -> list[Measured]:
        """What came of the last order."""
        return [pipe.recv() for pipe in self._pipes]

    def rate(self, endpoint: int, window: int, seconds: float) -> float:
        """Calls answered a second, all clients together."""
        return sum(count for count, _ in self.run(endpoint, window, seconds)) / seconds


@contextmanager
def clients(
    identities: Sequence[Identity],
    endpoints: Sequence[tuple[str, bool]],
    calls: Callable[[Identity], list[tuple[Request, ...]]],
) -> Generator[Clients]:
    """A process for each identity; endpoints are (address, does it want a hello)."""
    told = ((tuple(endpoints), identity, calls(identity)) for identity in identities)
    with piped(client_process, told) as pipes:
        yield Clients(pipes)
