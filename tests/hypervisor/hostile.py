"""What hostile peers send: unreadable bytes, spoilt requests, odd messages."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import msgpack
import msgspec

from hypervisor.public.domctl import (
    CreateDomain,
    DestroyDomain,
    GetDomainInfo,
    GetDomainInfoList,
    MapForeign,
    MaxMem,
    PauseDomain,
    Physinfo,
    SetPagingMempoolSize,
    UnmapForeign,
    UnpauseDomain,
)
from hypervisor.public.memory import (
    ClaimPages,
    CurrentReservation,
    DecreaseReservation,
    IncreaseReservation,
    MaximumGpfn,
    MaximumRamPage,
    MaximumReservation,
    MemoryExchange,
    PopulatePhysmap,
)
from hypervisor.public.protocol import FROM_HYPERVISOR, Goodbye, Hello, Listen, Ping, Pong, Refused
from hypervisor.public.requests import Request
from hypervisor.public.units import DOMID_SELF
from hypervisor.public.xenstore import (
    StoreDirectory,
    StoreRead,
    StoreRemove,
    StoreUnwatch,
    StoreWatch,
    StoreWrite,
)
from hypervisor.session.speakers import domain_secret
from hypervisor.transport import Client
from tests.running_hypervisor import HOST_KEY, PATIENCE_MS

SEQ = 3
"""Where a Call has its seq."""

NASTY: tuple[Any, ...] = (
    *(0, 1, 2, 3, 9, 18, 19, 63, 255, 4096, -1, -(2**31), -(2**63)),
    *(0x7FEF, DOMID_SELF, 0x7FF2, 0x7FF5, 0x7FFF, 0xFFFF, 0x10000),
    *(2**26 - 1, 2**26, 2**31 - 1, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1),
    *(
        None,
        True,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "text",
        "/local/domain/0",
        "ä" * 300,
        b"",
        b"\xff\xfe",
    ),
    *([], [[]], [[0, 1]], [[0, 2**64 - 1]], [[2**64 - 1, 2]], [[0, 0]], {}, {"a": 1}, [1, [2, [3, [4]]]]),
)


def requests(domid: int, other: int) -> tuple[Request, ...]:
    """A valid request of every kind, most of them about the attacker's own domain."""
    path = f"/local/domain/{domid}/data/x"
    return (
        *(PopulatePhysmap(domid, ((100, 8),)), PopulatePhysmap(DOMID_SELF, ((512, 1),), 3, 0, 0)),
        *(IncreaseReservation(domid, 2), DecreaseReservation(domid, ((100, 4), (300, 2)))),
        *(MemoryExchange(domid, ((100, 4),), 0, domid, ((100, 1),), 2), ClaimPages(domid, 300)),
        *(CurrentReservation(domid), MaximumReservation(domid), MaximumRamPage(), MaximumGpfn(domid)),
        *(CreateDomain(flags=1), DestroyDomain(other), PauseDomain(domid), UnpauseDomain(domid)),
        *(GetDomainInfo(other), MaxMem(domid, 4000), SetPagingMempoolSize(domid, 4096 * 300), Physinfo()),
        *(GetDomainInfoList(), MapForeign(domid, ((3, 2),)), UnmapForeign(domid, ((9000, 1),))),
        *(StoreDirectory("/local"), StoreRead(path), StoreWrite(path, "1"), StoreRemove(path)),
        *(StoreWatch(path, "t"), StoreUnwatch(path, "t")),
    )


class Attacker:
    """One connection that sends whatever it likes, authenticated or not."""

    def __init__(self, client: Client, endpoint: str, rng: random.Random) -> None:
        self.client = client
        self.dealer = client.connect(endpoint)
        self.rng = rng
        self.key = (0, 0)
        self.seq = 0
        self.answers = 0

    def hello(self, domid: int, incarnation: int, secret: bytes) -> None:
        self.key = (domid, incarnation)
        self.dealer.send([msgspec.msgpack.encode(Hello(1, domid, incarnation, secret))])

    def send(self, frames: list[bytes], mark: int) -> None:
        """Send, and take in answers until everything has been read at the other end.

        That is when the Hello of an impossible protocol, sent last, is refused by its number.
        """
        self.dealer.send([*frames, msgspec.msgpack.encode(Hello(2 + mark, 0, 0, b""))])
        while not self.caught_up(f"protocol {2 + mark}:"):
            assert self.client.wait(PATIENCE_MS), "the hypervisor does not answer any more"

    def caught_up(self, text: str) -> bool:
        found = False
        for frame in self.dealer.receive(10_000):
            message = FROM_HYPERVISOR.decode(frame)
            self.answers += 1
            found = found or (isinstance(message, Refused) and message.text.startswith(text))
        return found

    def call(self, *wanted: Request) -> list[Any]:
        """A valid Call in plain lists, to be spoilt."""
        self.seq += 1
        content = [2, *self.key, self.seq, [msgspec.to_builtins(one) for one in wanted]]
        return list(msgspec.msgpack.decode(msgspec.msgpack.encode(content)))


def garbage(attacker: Attacker, valid: list[Request]) -> bytes:
    """Random bytes, or a valid Call cut short, or one with bytes flipped beyond reading."""
    rng = attacker.rng
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:
        return bytes([rng.choice((0x91, 0x92, 0x95, 0xDC, 0xDD, 0xDE, 0xC6, 0xDB, 0xC1))]) * rng.randrange(
            3000
        )
    whole = bytes(msgpack.packb(attacker.call(*rng.choices(valid, k=rng.randrange(1, 4)))))
    cut = whole[: rng.randrange(len(whole))]
    return cut if kind == 2 else b"\xc1" + cut + rng.randbytes(3)


def mutation(attacker: Attacker, valid: list[Request]) -> bytes:
    """A valid Call with one to three spoilt places, as the independent codec writes it."""
    rng = attacker.rng
    content = attacker.call(*rng.choices(valid, k=rng.choice((1, 1, 1, 2, 5))))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        spoil(rng, content)
    return bytes(msgpack.packb(content))


def spoil(rng: random.Random, content: list[Any]) -> None:
    """Replace, drop, double or insert something at a random place; fields of requests most of all."""
    place = content
    while inner := [one for one in place if isinstance(one, list) and one]:
        if place is not content and rng.random() < 0.5:
            break
        if place is content and rng.random() < 0.2:
            break
        place = rng.choice(inner)
    index = rng.randrange(len(place))
    if place is content and index == SEQ and rng.random() < 0.95:
        return  # a seq far ahead makes all the attacker's later ones stale: its own loss, so not too often
    kind = rng.randrange(10)
    if kind < 6:
        place[index] = deepcopy(rng.choice(NASTY))
    elif kind == 6:
        del place[index]
    elif kind == 7:
        place.insert(index, place[index])
    elif kind == 8:
        place.insert(index, deepcopy(rng.choice(NASTY)))
    else:
        place.append(deepcopy(rng.choice(NASTY)))


def oddities(rng: random.Random, key: tuple[int, int]) -> bytes:
    """Well-formed messages that are not Calls: hellos with guessed secrets, listens, goodbyes, pings."""
    domid, incarnation = key
    other = rng.randrange(6)
    return msgspec.msgpack.encode(
        rng.choice(
            (
                Hello(1, other, rng.randrange(9), rng.randbytes(16)),
                Hello(1, domid, incarnation + 1, domain_secret(HOST_KEY, domid, incarnation)),
                Listen(domid, incarnation, (3, 12, 10**6)),
                Listen(other, incarnation, ()),
                Goodbye(other, incarnation + 1),
                Ping(rng.getrandbits(64)),
                Pong(-1),
            )
        )
    )
