"""The checker's cheap look at a step finds what the full look finds, at the same step; and planted bugs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypervisor.core import allocation, claims, destroy
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host, HostConfig, new_host
from hypervisor.core.invariants import check_counters, unpermitted
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.releases import RELEASES, release
from hypervisor.core.steps import Caller, Step
from hypervisor.core.transitions import Auditor
from hypervisor.journal import JournalWriter
from hypervisor.public.domctl import (
    CDF_HVM,
    Created,
    CreateDomain,
    DestroyDomain,
    MaxMem,
    Physinfo,
    UnpauseDomain,
)
from hypervisor.public.memory import ClaimPages, DecreaseReservation, IncreaseReservation, PopulatePhysmap
from hypervisor.public.numa import ClaimMemory, MemoryClaim
from hypervisor.public.offlining import PAGE_OFFLINE, PageOfflineOp
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import Mfn, Pages
from launch.check.books import Books
from launch.check.finding import Finding, Kind
from launch.check.host import JOURNAL, check_host
from tests.core.requests_for_small_host import CALLERS, NUMA, REQUESTS

CONTROL = Caller(0, 0)
CONFIG = HostConfig((900, 700), dom0_pages=24, xen_pages=40, low_mem_virq_pages=64)
PREPARED: tuple[Request, ...] = (
    CreateDomain(1, CDF_HVM),
    CreateDomain(2),
    *(MaxMem(domid, 4 * 900) for domid in (1, 2)),
    *(UnpauseDomain(domid) for domid in (1, 2)),
    PopulatePhysmap(1, ((0, 40),)),
    IncreaseReservation(2, 40),
    ClaimPages(1, 700),
)
ON_NODES = ClaimMemory(1, (MemoryClaim(300, 0), MemoryClaim(200, 1), MemoryClaim(100)))
"""Where the release has claim sets, this takes the place of the claim; elsewhere it is refused."""


def never_refused(_host: Host, _domain: Domain | None, _request: Pages, _no_refcount: bool) -> bool:
    """Claims hold nobody back."""
    return False


def drop_half(host: Host, domain: Domain) -> None:
    """The host forgets the claim, the domain keeps it."""
    host.outstanding_claims -= domain.outstanding_pages


def drop_nothing(_host: Host, _domain: Domain) -> None:
    """A dying domain keeps its claim."""


def consume_nothing(_host: Host, _domain: Domain, _pages: Pages, _node: int | None = None) -> None:
    """A claim is never drawn down."""


def consume_on_one_side(_host: Host, domain: Domain, pages: Pages, _node: int | None = None) -> None:
    """The domain's claim falls, the host's sum does not."""
    domain.outstanding_pages -= min(domain.outstanding_pages, pages)


def consume_host_wide_only(host: Host, domain: Domain, pages: Pages, _node: int | None = None) -> None:
    """The sums fall, the claims on the nodes do not."""
    drawn = min(domain.outstanding_pages, pages)
    domain.outstanding_pages -= drawn
    host.outstanding_claims -= drawn


def assign_without_limit(host: Host, domain: Domain, mfn: Mfn, order: int) -> bool:
    """max_pages stops nobody."""
    if domain.is_dying:
        return False
    claims.adjust_tot_pages(host, domain, 1 << order)
    host.frames.set_owner(mfn, order, domain.domid, allocation.IN_FLIGHT)
    host.in_flight_pages -= 1 << order
    return True


CONSUMERS = {
    "consume nothing": consume_nothing,
    "consume on one side": consume_on_one_side,
    "consume host-wide only": consume_host_wide_only,
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The core with a bug in it."""
    with pytest.MonkeyPatch.context() as patch:
        match name:
            case "never refused":
                patch.setattr(allocation, "allocation_refused", never_refused)
            case "drop half":
                patch.setattr(destroy, "drop_claim", drop_half)
                patch.setattr(claims, "drop_claim", drop_half)
            case "drop nothing":
                patch.setattr(destroy, "drop_claim", drop_nothing)
            case "consume nothing" | "consume on one side" | "consume host-wide only":
                patch.setattr(allocation, "consume_claim", CONSUMERS[name])
                patch.setattr(claims, "consume_claim", CONSUMERS[name])
            case "no limit":
                patch.setattr("hypervisor.core.populate.assign_pages", assign_without_limit)
            case _:
                assert name == "none"
        yield


BUGS = (
    "none",
    "never refused",
    "drop half",
    "drop nothing",
    "consume nothing",
    "consume on one side",
    "no limit",
)


class Watched:
    """A host looked at in both ways after every step."""

    def __init__(self, name: str) -> None:
        self.machine = Machine(new_host(CONFIG, release(name)))
        self.under_way: list[Operation] = []
        self.books = Books(self.machine.host, self.pending)
        self.auditor = Auditor(self.machine.host)
        self.breaks = 0

    def pending(self) -> list[Step]:
        """What the requests under way will do next."""
        return [one.pending for one in self.under_way if one.pending is not None]

    def step(self, operation: Operation) -> None:
        """One step; both looks must see the same."""
        step = operation.pending
        assert step is not None
        self.machine.step(operation)
        host = self.machine.host
        full = (*check_counters(host, self.pending()), *self.auditor.after(step))
        expected = {(one.invariant, one.form) for one in unpermitted(full, host.release)}
        found = {(one.invariant, one.form) for one in self.books.after(step)}
        assert found == expected, step
        self.breaks += bool(expected)

    def alone(self, request: Request) -> None:
        """A request to its end."""
        operation = self.machine.submit(CONTROL, request)
        self.under_way = [operation]
        while operation.reply is None:
            self.step(operation)

    def together(self, asked: list[tuple[Caller, Request]], order: list[int]) -> None:
        """Requests interleaved."""
        self.under_way = [self.machine.submit(caller, request) for caller, request in asked]
        for choice in order:
            runnable = [one for one in self.under_way if self.machine.is_runnable(one)]
            if runnable:
                self.step(runnable[choice % len(runnable)])


ASKED = st.lists(st.tuples(CALLERS, st.one_of(REQUESTS, REQUESTS, NUMA)), min_size=2, max_size=6)
ORDER = st.lists(st.integers(0, 5), min_size=5, max_size=80)


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        *((name, bug) for name in ("4.3", "4.17", "4.22", "claim-sets") for bug in BUGS),
        ("claim-sets", "consume host-wide only"),
    ],
)
@given(asked=ASKED, order=ORDER)
@settings(max_examples=15)
@pytest.mark.rule("I1", "I2", "I3", "I4", "I5", "I6", "I11")
def test_the_cheap_look_sees_what_the_full_look_sees(
    name: str, bug: str, asked: list[tuple[Caller, Request]], order: list[int]
) -> None:
    """After every step of any interleaving, in a sound core and in broken ones."""
    with planted(bug):
        watched = Watched(name)
        for request in (*PREPARED, ON_NODES):
            watched.alone(request)
        watched.together(asked, order)


TELLING: tuple[tuple[Request, ...], ...] = (
    *((one,) for one in PREPARED),
    (ON_NODES,),
    (PopulatePhysmap(1, ((100, 100),)), Physinfo()),
    (PageOfflineOp(PAGE_OFFLINE, 30, 60), IncreaseReservation(1, 5)),
    (MaxMem(2, 4 * 30),),
    (IncreaseReservation(2, 10), Physinfo()),
    (MaxMem(2, 4 * 1500),),
    (IncreaseReservation(2, 800), DecreaseReservation(1, ((100, 10),))),
    (PopulatePhysmap(1, ((300, 700),)), IncreaseReservation(2, 10)),
    (ClaimPages(1, 0),),
    (DestroyDomain(2),),
    (ClaimPages(1, 890),),
    (DestroyDomain(1),),
)
"""Requests, the ones of a group interleaved."""


def journal(folder: Path, name: str) -> None:
    """TELLING as a hypervisor would have written it."""
    header = {"release": name, "host": msgspec.to_builtins(CONFIG)}
    writer = JournalWriter((folder / JOURNAL).open("xb"), header)
    machine = Machine(new_host(CONFIG, release(name)))
    dice = random.Random(name)
    for group in TELLING:
        under_way = [machine.submit(CONTROL, request) for request in group]
        while under_way:
            one = dice.choice([one for one in under_way if machine.is_runnable(one)])
            first = one.first_commit == 0
            result = machine.step(one)
            writer.step(one.number, (0, 0), one.request if first else None, result.reply)
            if result.reply is not None:
                under_way.remove(one)
    writer.note("end", 0, {"commit": machine.commit})
    writer.close()


def findings(folder: Path) -> list[Finding]:
    """What the check of a folder finds."""
    return check_host(folder, "host", lambda _line: None).findings


@pytest.mark.parametrize("name", tuple(RELEASES))
def test_a_sound_journal_is_valid(name: str, tmp_path: Path) -> None:
    """Without a bug nothing is found, whatever the release permits itself."""
    journal(tmp_path, name)
    assert findings(tmp_path) == []


PERMITTED_IN_4_17 = ("drop nothing", "consume nothing")
"""Not to be told from a claim on a zombie (C9) and from extents that lean on one claim (C27)."""


@pytest.mark.parametrize(
    ("name", "bug"),
    [("4.22", bug) for bug in BUGS[1:]]
    + [("4.17", bug) for bug in BUGS[1:] if bug not in PERMITTED_IN_4_17]
    + [("claim-sets", "consume host-wide only")],
)
@pytest.mark.rule("I1", "I2", "I3", "I4", "I5", "I6", "I11")
def test_a_broken_core_is_told_from_a_broken_file(name: str, bug: str, tmp_path: Path) -> None:
    """The core that wrote the journal agrees with it and breaks invariants; a sound core disagrees."""
    with planted(bug):
        journal(tmp_path, name)
        kinds = {one.kind for one in findings(tmp_path)}
    assert kinds == {Kind.INVARIANT}


@pytest.mark.parametrize("change", [lambda host: setattr(host, "in_flight_pages", 3)])
@pytest.mark.rule("I10")
def test_nothing_may_be_left_in_flight(change: Callable[[Host], None]) -> None:
    """At the end, with no request under way, no page may be between heap and domain."""
    host = new_host(CONFIG, release("4.17"))
    books = Books(host, lambda: ())
    change(host)
    assert {one.invariant for one in books.close()} >= {"I1", "I10"}


def test_an_undeclared_change_is_found_by_the_count() -> None:
    """A step that writes a domain which it did not declare does not stay hidden."""
    host = new_host(CONFIG, release("4.17"))
    books = Books(host, lambda: ())
    host.domains[0].max_pages -= 1
    nothing = Step("nothing", frozenset(), frozenset())
    broken = [one for _ in range(2_000) for one in books.after(nothing)]
    assert [one.invariant for one in broken] == ["declared"]


def test_what_a_step_costs_does_not_grow_with_the_number_of_domains() -> None:
    """Domains come and go without a look at all the others; the more there are, the rarer is a full count."""
    machine = Machine(new_host(HostConfig((65536,), dom0_pages=64, xen_pages=64), release("4.22")))
    books, steps = Books(machine.host, lambda: ()), 0

    def alone(request: Request) -> Reply:
        nonlocal steps
        operation = machine.submit(CONTROL, request)
        while operation.reply is None:
            step, steps = operation.pending, steps + 1
            assert step is not None
            machine.step(operation)
            assert books.after(step) == ()
        return operation.reply

    for _ in range(2_000):
        created = alone(CreateDomain()).value
        assert isinstance(created, Created)
        alone(MaxMem(created.domid, 400))
        alone(PopulatePhysmap(created.domid, ((0, 8),)))
    domains = len(machine.host.domids)
    for domid in [domid for domid in machine.host.domids if domid % 10 == 1]:
        alone(DestroyDomain(domid))
    assert books.full_looks == 0
    assert 0 < books.counts * domains < steps * 2 // 3


def test_a_domain_that_comes_with_pages_nobody_gave_is_found_at_once() -> None:
    """The sums must balance with a newcomer as they do without."""
    machine = Machine(new_host(CONFIG, release("4.22")))
    books = Books(machine.host, lambda: ())
    operation = machine.submit(CONTROL, CreateDomain(7))
    step = operation.pending
    assert step is not None
    machine.step(operation)
    machine.host.domains[7].tot_pages += 1
    assert [one.invariant for one in books.after(step)] == ["I1"]
