"""A hundred thousand hostile frames at the running hypervisor: it stays up and its books stay right."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import msgpack
import msgspec
import pytest

from hypervisor.core.invariants import check_counters, check_frames, unpermitted
from hypervisor.core.machine import Machine
from hypervisor.journal import StepRecord
from hypervisor.public.domctl import (
    CreateDomain,
    DestroyDomain,
    DomainInfoList,
    GetDomainInfo,
    GetDomainInfoList,
    MapForeign,
    MaxMem,
    PauseDomain,
    PhysicalInfo,
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
from hypervisor.public.requests import Reply, Request
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
from tests.running_hypervisor import (
    CONTROL,
    HOST_KEY,
    PATIENCE_MS,
    TOOLSTACK,
    Running,
    ToolstackPeer,
    closing,
    replayed,
    running_hypervisor,
)

SEED = 20130118
BATCH = 500
PER_HALF = 50_000
ATTACKER = 666
"""Incarnation under which the hostile toolstack speaks."""

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


class Siege:
    """The hypervisor under attack, and an honest toolstack beside the attackers."""

    def __init__(self, running: Running, honest: ToolstackPeer, client: Client) -> None:
        rng = random.Random(SEED)
        self.rng = rng
        self.honest = honest
        guests, toolstacks = running.endpoints["guests"], running.endpoints["toolstacks"]
        self.guest = Attacker(client, guests, rng)
        self.toolstack = Attacker(client, toolstacks, rng)
        self.strangers = [Attacker(client, guests, rng), Attacker(client, toolstacks, rng)]
        self.marks = 0
        self.turn = 0
        self.victim = 0
        self.keys: set[tuple[int, int]] = set()

    def prepare(self) -> None:
        """Begin anew, now and then: new domains, and a new name for the hostile toolstack.

        In between see that the hostile guest runs, which its ally may have paused.
        """
        if self.turn % 4 == 0:
            self.toolstack.hello(0, ATTACKER + self.turn, CONTROL)
            self.clear()
            self.victim = self.honest.build(50, max_pages=200).domid
            created = self.honest.build(400, max_pages=900)
            self.guest.hello(created.domid, created.incarnation, created.secret)
            self.keys |= {self.guest.key, self.toolstack.key}
        self.turn += 1
        while self.honest.control(UnpauseDomain(self.guest.key[0])).ret == 0:
            pass

    def clear(self) -> None:
        """Destroy every domain, so that there is memory to build new ones."""
        domains = self.honest.control(GetDomainInfoList()).value
        assert isinstance(domains, DomainInfoList)
        for domain in domains.domains:
            if domain.domid:
                self.honest.control(DestroyDomain(domain.domid))

    def assault(self, attackers: list[Attacker], total: int, make: Callable[..., bytes]) -> None:
        """Send `total` frames; between the batches an honest toolstack repairs when requests get through."""
        for _ in range(total // BATCH):
            if make is mutation:
                self.prepare()
            for attacker in attackers:
                self.marks += 1
                attacker.send(self.frames(attacker, BATCH // len(attackers), make), self.marks)

    def frames(self, attacker: Attacker, number: int, make: Callable[..., bytes]) -> list[bytes]:
        domid = attacker.key[0] or self.guest.key[0]
        valid = list(requests(domid, self.rng.choice((self.victim, domid, 1))))
        return [
            oddities(self.rng, attacker.key)
            if make is mutation and self.rng.random() < 0.05
            else make(attacker, valid)
            for _ in range(number)
        ]


@dataclass
class Aftermath:
    """What the siege left."""

    running: Running
    keys: set[tuple[int, int]]
    before_garbage: Reply
    after_garbage: Reply
    garbage_answers: int
    domains: object
    physical: object
    stats: dict[str, Any]


@pytest.fixture(scope="module")
def aftermath() -> Iterator[Aftermath]:
    client = Client()
    with running_hypervisor(mib=16) as running, closing(ToolstackPeer(running)) as honest:
        siege = Siege(running, honest, client)
        siege.prepare()
        attackers = [*siege.strangers, siege.guest, siege.toolstack]
        before = honest.control(Physinfo())
        siege.assault(attackers, PER_HALF, garbage)
        after = honest.control(Physinfo())
        answers = sum(attacker.answers for attacker in attackers)
        siege.assault([siege.guest, siege.toolstack], PER_HALF, mutation)
        domains = honest.control(GetDomainInfoList()).value
        physical = honest.control(Physinfo()).value
        yield Aftermath(running, siege.keys, before, after, answers, domains, physical, running.stop())
    client.close()


def test_random_and_truncated_frames_change_nothing(aftermath: Aftermath) -> None:
    """50,000 unreadable frames, from strangers and from bound peers alike, are answered and make no step."""
    before, after = aftermath.before_garbage, aftermath.after_garbage
    assert after.first == before.last + 1, "a step was made for somebody else"
    assert after.value == before.value
    assert aftermath.garbage_answers >= PER_HALF


def test_every_way_of_refusing_was_met(aftermath: Aftermath) -> None:
    """The siege met every refusal a peer can provoke at will, and the hypervisor counted all its frames."""
    stats = aftermath.stats
    assert stats["received"] >= 2 * PER_HALF
    assert stats["refusals"]["malformed"] > PER_HALF
    provoked = {"stale-incarnation", "unknown-peer", "bad-secret", "not-permitted", "stale-sequence"}
    assert provoked <= set(stats["refusals"])
    assert (stats["dropped"], stats["gone"]) == (0, 0)


def test_mutated_requests_do_what_valid_ones_would(aftermath: Aftermath) -> None:
    """What 50,000 spoilt requests changed, a replay of the journal changes too, invariants holding."""
    machine = replay_checked(aftermath.running)
    assert 10_000 < aftermath.stats["steps"] == machine.commit
    assert_same_books(machine, aftermath.domains, aftermath.physical)


def replay_checked(running: Running) -> Machine:
    """The journal's machine; its invariants hold all along, its structures at the end."""
    steps = 0

    def after(machine: Machine) -> None:
        nonlocal steps
        steps += 1
        if steps % 50 == 0:
            assert list(unpermitted(check_counters(machine.host), machine.host.release)) == []

    machine = replayed(running.journal(), after)
    assert list(unpermitted(check_frames(machine.host), machine.host.release)) == []
    return machine


def assert_same_books(machine: Machine, listed: object, physical: object) -> None:
    """What the process said last is what the replay has."""
    host = machine.host
    assert isinstance(listed, DomainInfoList) and isinstance(physical, PhysicalInfo)
    said = [(d.domid, d.incarnation, d.tot_pages, d.max_pages, d.outstanding_pages) for d in listed.domains]
    have = [host.domains[domid] for domid in host.domids]
    assert said == [(d.domid, d.incarnation, d.tot_pages, d.max_pages, d.outstanding_pages) for d in have]
    assert physical.free_pages == host.heap.total_avail
    assert physical.outstanding_pages == host.outstanding_claims


def test_nobody_acted_in_anothers_name(aftermath: Aftermath) -> None:
    """Every step's caller is a peer that had said hello with the right secret."""
    callers = {r.caller for r in aftermath.running.journal().steps() if r.caller is not None}
    assert callers <= aftermath.keys | {(0, TOOLSTACK)}


def test_no_guest_touched_another_domain(aftermath: Aftermath) -> None:
    """In the journal no request of the hostile guest about another domain has succeeded."""
    reading = (MaximumRamPage, StoreDirectory, StoreRead, StoreWatch, StoreUnwatch, StoreWrite, StoreRemove)
    guests = {key for key in aftermath.keys if key[0]}
    foreign: dict[int, Request] = {}
    asked = 0
    for record in aftermath.running.journal().steps():
        assert isinstance(record, StepRecord)
        if record.caller in guests and not isinstance(record.request, reading):
            domid = getattr(record.request, "domid", None)
            if record.request is not None and domid not in (record.caller[0], DOMID_SELF):
                foreign[record.operation] = record.request
        if record.digest is not None and record.operation in foreign:
            asked += 1
            request = foreign.pop(record.operation)
            assert record.ret is not None and record.ret <= start_extent(request), request
    assert asked > 100


def start_extent(request: Request) -> int:
    """A refused memory operation answers the extents done before, which is what the caller claimed."""
    return getattr(request, "start_extent", 0)
