"""Clients that mean no good, each a process and a domain: they never read, never stop, never finish.

Each is told by its pipe where to go, and goes on there until it is told the next place.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from types import MappingProxyType
from typing import Any, Final

import zmq

from benchmarks.hosts import Identity
from hypervisor.public.memory import CurrentReservation
from hypervisor.public.protocol import (
    MAX_MESSAGE_BYTES,
    MAX_MULTICALL,
    PROTOCOL_VERSION,
    Call,
    Hello,
    Ping,
    encode,
)
from hypervisor.public.units import DOMID_SELF
from hypervisor.public.xenstore import StoreRead, StoreWrite

Going = Callable[[], bool]
PAUSE_MS: Final = 5
"""How long a client that cannot send waits before it tries again."""
HALF_MESSAGES: Final = 8
"""Connections that one client keeps in the middle of a message."""


def greeted(identity: Identity) -> list[bytes]:
    """An authorised peer's first words."""
    return [encode(Hello(PROTOCOL_VERSION, identity.domid, identity.incarnation, identity.secret))]


def calls(identity: Identity) -> Iterator[bytes]:
    """Calls for ever, whose answers are as long as answers of one request get."""
    home = f"/local/domain/{identity.domid}"
    for seq in count(1):
        requests = (StoreRead(home), CurrentReservation(DOMID_SELF))
        yield encode(Call(identity.domid, identity.incarnation, seq, requests))


def long_answers(identity: Identity) -> Iterator[bytes]:
    """Calls for ever, whose answers are of 4 MiB."""
    path = f"/local/domain/{identity.domid}/data/long"
    yield encode(Call(identity.domid, identity.incarnation, 1, (StoreWrite(path, "x" * 4000),)))
    for seq in count(2):
        reads = (StoreRead(path),) * MAX_MULTICALL
        yield encode(Call(identity.domid, identity.incarnation, seq, reads))


def flood(identity: Identity) -> Iterator[bytes]:
    """Pings, garbage, calls beyond any credit, and the longest messages that are taken."""
    draw, mine = random.Random(1), calls(identity)
    for number in count():
        yield encode(Ping(number))
        yield draw.randbytes(draw.randrange(200))
        yield next(mine)
        if not number % 1000:
            yield b"\xc1" * MAX_MESSAGE_BYTES


def connected(endpoint: str, receive: int) -> Any:
    """A DEALER with room for so many messages on its way in."""
    dealer: Any = zmq.Context.instance().socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.RCVHWM, receive)
    dealer.setsockopt(zmq.SNDHWM, 64)
    dealer.connect(endpoint)
    return dealer


def talk(endpoint: str, identity: Identity, going: Going, frames: Iterator[bytes], reads: bool) -> None:
    """Send as fast as the other side takes it. Blocked for long, begin anew over another connection."""
    while going():
        dealer = connected(endpoint, 1000 if reads else 1)
        for word in greeted(identity):
            dealer.send(word)
        blocked = 0
        while blocked < 200 and going():
            if not dealer.poll(PAUSE_MS, zmq.POLLOUT):
                blocked += 1
                continue
            blocked = 0
            dealer.send(next(frames))
            while reads and dealer.poll(0):
                dealer.recv()
        dealer.close(linger=0)


def never_reads(endpoint: str, identity: Identity, going: Going) -> None:
    """Calls, and takes no answer in."""
    talk(endpoint, identity, going, calls(identity), reads=False)


def asks_for_much(endpoint: str, identity: Identity, going: Going) -> None:
    """Calls for as long answers as there are, and takes none in."""
    talk(endpoint, identity, going, long_answers(identity), reads=False)


def never_stops(endpoint: str, identity: Identity, going: Going) -> None:
    """Writes whatever it can, and reads what comes."""
    talk(endpoint, identity, going, flood(identity), reads=True)


def never_finishes(endpoint: str, _identity: Identity, going: Going) -> None:
    """Greets as ZeroMQ does (ZMTP 3.1), and stops in the middle of a message of a MiB."""
    path = endpoint.removeprefix("ipc://")
    while going():
        held = [half_a_message(path) for _ in range(HALF_MESSAGES)]
        for one in held:
            while going() and not cut_off(one):
                pass
            one.close()


def half_a_message(path: str) -> socket.socket:
    """A connection in the middle of a message."""
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(0.2)
    with suppress(OSError):
        one.connect(path)
        one.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32))
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
        one.sendall(bytes((4, len(ready))) + ready)
        one.sendall(b"\x02" + struct.pack(">Q", MAX_MESSAGE_BYTES) + bytes(MAX_MESSAGE_BYTES // 2))
    return one


def cut_off(one: socket.socket) -> bool:
    """Whether the other side has had enough, looked at for a while."""
    try:
        return not one.recv(4096)
    except TimeoutError:
        return False
    except OSError:
        return True


KINDS: Final = MappingProxyType(
    {
        "never reads": never_reads,
        "asks for much": asks_for_much,
        "never stops writing": never_stops,
        "stops in mid-message": never_finishes,
    }
)


def hostile_process(pipe: Any, kind: str, identities: tuple[Identity, ...]) -> None:
    """Main function: `pipe` gives (endpoint, which identity), one after the other; None is the end."""
    pipe.send("ready")
    with suppress(EOFError):
        while (told := pipe.recv()) is not None:
            endpoint, number = told
            if endpoint:
                KINDS[kind](endpoint, identities[number], lambda: not pipe.poll())
