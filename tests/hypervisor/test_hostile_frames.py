"""A hundred thousand hostile frames at the running hypervisor: it stays up and its books stay right."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hypervisor.core.host import Host
from hypervisor.core.invariants import check_counters, check_frames, unpermitted
from hypervisor.public.domctl import (
    CDF_HVM,
    Created,
    CreateDomain,
    DestroyDomain,
    DomainInfoList,
    GetDomainInfoList,
    MaxMem,
    PhysicalInfo,
    Physinfo,
    UnpauseDomain,
)
from hypervisor.public.memory import (
    MaximumRamPage,
    PopulatePhysmap,
)
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
from hypervisor.transport import Client
from tests.hypervisor.hostile import Attacker, garbage, mutation, oddities, requests
from tests.running_hypervisor import (
    CONTROL,
    TOOLSTACK,
    Running,
    ToolstackPeer,
    closing,
    replayed,
    running_hypervisor,
)

SEED = 20130118
BATCH = 500
SIEGES = 5
"""Each on a hypervisor of its own, because what gets through may use up a host for good."""
PER_HALF = 100_000 // 2 // SIEGES
ATTACKER = 666
"""Incarnation under which the hostile toolstack speaks."""


class Siege:
    """The hypervisor under attack, and an honest toolstack beside the attackers."""

    def __init__(self, running: Running, honest: ToolstackPeer, client: Client, rng: random.Random) -> None:
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
            self.victim = self.build(50) or self.victim
            self.build(400, self.guest)
            self.keys |= {self.guest.key, self.toolstack.key}
        self.turn += 1
        while self.honest.control(UnpauseDomain(self.guest.key[0])).ret == 0:
            pass

    def build(self, pages: int, speaker: Attacker | None = None) -> int:
        """A running domain with as many of the pages as attackers left; 0 when there is no room at all."""
        created = self.honest.control(CreateDomain(flags=CDF_HVM)).value
        if not isinstance(created, Created):
            return 0
        self.honest.control(MaxMem(created.domid, 4 * 2 * pages))
        self.honest.control(PopulatePhysmap(created.domid, ((0, pages),)))
        self.honest.control(UnpauseDomain(created.domid))
        if speaker is not None:
            speaker.hello(created.domid, created.incarnation, created.secret)
        return created.domid

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


@pytest.fixture(scope="module", params=range(SIEGES))
def aftermath(request: pytest.FixtureRequest) -> Iterator[Aftermath]:
    client = Client()
    try:
        # Every frame is to be read: what is not read for abuse is test_overload's matter.
        running_host = running_hypervisor(mib=16, most_abuses=PER_HALF)
        with running_host as running, closing(ToolstackPeer(running)) as honest:
            yield besiege(running, honest, client, random.Random(SEED + request.param))
    finally:
        client.close()


def besiege(running: Running, honest: ToolstackPeer, client: Client, rng: random.Random) -> Aftermath:
    """Both halves of the siege, then the end of the process."""
    siege = Siege(running, honest, client, rng)
    siege.prepare()
    attackers = [*siege.strangers, siege.guest, siege.toolstack]
    before = honest.control(Physinfo())
    siege.assault(attackers, PER_HALF, garbage)
    after = honest.control(Physinfo())
    answers = sum(attacker.answers for attacker in attackers)
    siege.assault([siege.guest, siege.toolstack], PER_HALF, mutation)
    settle(honest)
    domains = honest.control(GetDomainInfoList()).value
    physical = honest.control(Physinfo()).value
    return Aftermath(running, siege.keys, before, after, answers, domains, physical, running.stop())


def settle(honest: ToolstackPeer) -> None:
    """Until no operation moves any more: each would take a step between two requests of ours."""
    earlier, later = honest.control(Physinfo()), honest.control(Physinfo())
    while later.first != earlier.last + 1:
        earlier, later = later, honest.control(Physinfo())


def test_random_and_truncated_frames_change_nothing(aftermath: Aftermath) -> None:
    """10,000 unreadable frames, from strangers and from bound peers alike, are answered and make no step."""
    before, after = aftermath.before_garbage, aftermath.after_garbage
    assert after.first == before.last + 1, "a step was made for somebody else"
    assert after.value == before.value
    assert aftermath.garbage_answers >= PER_HALF


def test_every_way_of_refusing_was_met(aftermath: Aftermath) -> None:
    """The siege met every refusal a peer can provoke at will, and the hypervisor counted all its frames."""
    stats = aftermath.stats
    assert stats["received"] >= 2 * PER_HALF
    assert stats["refusals"]["malformed"] > PER_HALF
    provoked = {"stale-incarnation", "unknown-peer", "bad-secret", "not-permitted"}
    assert provoked <= set(stats["refusals"])
    assert (stats["dropped"], stats["gone"]) == (0, 0)


def test_mutated_requests_do_what_valid_ones_would(aftermath: Aftermath) -> None:
    """What 10,000 spoilt requests changed, a replay of the journal changes too, invariants holding."""
    host = replay_checked(aftermath.running)
    assert 2_000 < aftermath.stats["steps"] == host.commit
    assert_same_books(host, aftermath.domains, aftermath.physical)


def replay_checked(running: Running) -> Host:
    """The journal's host; its invariants hold all along, its structures at the end."""
    steps = 0

    def after(host: Host) -> None:
        nonlocal steps
        steps += 1
        if steps % 50 == 0:
            assert list(unpermitted(check_counters(host), host.release)) == []

    host = replayed(running.journal(), after)
    assert list(unpermitted(check_frames(host), host.release)) == []
    return host


def assert_same_books(host: Host, listed: object, physical: object) -> None:
    """What the process said last is what the replay has."""
    assert isinstance(listed, DomainInfoList) and isinstance(physical, PhysicalInfo)
    said = [(d.domid, d.incarnation, d.tot_pages, d.max_pages, d.outstanding_pages) for d in listed.domains]
    have = [host.domains[domid] for domid in host.domids]
    assert said == [(d.domid, d.incarnation, d.tot_pages, d.max_pages, d.outstanding_pages) for d in have]
    assert physical.free_pages == host.heap.total_avail
    assert physical.outstanding_pages == host.outstanding_claims


def test_nobody_acted_in_anothers_name(aftermath: Aftermath) -> None:
    """Every step's caller is a peer that had said hello with the right secret."""
    callers = {r.caller for r in aftermath.running.journal().steps()}
    assert callers <= aftermath.keys | {(0, TOOLSTACK)}


def test_no_guest_touched_another_domain(aftermath: Aftermath) -> None:
    """In the journal no request of the hostile guest about another domain has succeeded."""
    reading = (MaximumRamPage, StoreDirectory, StoreRead, StoreWatch, StoreUnwatch, StoreWrite, StoreRemove)
    guests = {key for key in aftermath.keys if key[0]}
    foreign: dict[int, Request] = {}
    asked = 0
    for record in aftermath.running.journal().steps():
        if record.caller in guests and not isinstance(record.request, reading):
            domid = getattr(record.request, "domid", None)
            if record.request is not None and domid not in (record.caller[0], DOMID_SELF):
                foreign[record.call] = record.request
        if record.ret is not None and record.call in foreign:
            asked += 1
            request = foreign.pop(record.call)
            assert record.ret <= start_extent(request), request
    assert asked > 20


def start_extent(request: Request) -> int:
    """A refused memory operation answers the extents done before, which is what the caller claimed."""
    return getattr(request, "start_extent", 0)
