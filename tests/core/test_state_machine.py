"""The core under any requests in any interleaving: the invariants hold after every atomic step, or a rule of
the release says why not.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hypervisor.core.domain import Domain
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.invariants import Broken, check, check_counters, check_frames, unpermitted
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.releases import RELEASES, release
from hypervisor.core.steps import Caller
from hypervisor.core.transitions import Auditor, contents, trace
from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    CreateDomain,
    DestroyDomain,
    MapForeign,
    MaxMem,
    UnmapForeign,
    UnpauseDomain,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    ClaimPages,
    DecreaseReservation,
    IncreaseReservation,
    MemoryExchange,
    PopulatePhysmap,
)
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import UINT_MAX
from tests.core.requests_for_small_host import CALLERS, REQUESTS

CONTROL = Caller(0, 0)
MOST_UNDER_WAY = 6
FRAMES_EVERY = 25  # steps between two walks over all frames
NODES = ((1024,), (1400,), (3000,), (600, 700), (1024, 512), (400, 512, 600))


class AnyInterleaving(RuleBasedStateMachine):
    """Callers of every kind on a small host, stepped in any order. Subclasses name the release."""

    release_name = ""
    tmem = False

    def __init__(self) -> None:
        super().__init__()
        self.under_way: list[Operation] = []
        self.steps = 0
        self.sound = False

    @initialize(
        nodes=st.sampled_from(NODES),
        threshold=st.sampled_from((0, 1, 64, None)),
        kind=st.sampled_from((CDF_HVM, CDF_HVM, CDF_HVM | CDF_HAP)),
        spare=st.sampled_from((None, 10, 40, 150)),
    )
    def boot(self, nodes: tuple[int, ...], threshold: int | None, kind: int, spare: int | None) -> None:
        """A host of a few MiB with an HVM and a PV domain, and a third that leaves `spare` pages free."""
        config = HostConfig(nodes, dom0_pages=24, xen_pages=40, low_mem_virq_pages=threshold, tmem=self.tmem)
        self.machine = Machine(new_host(config, release(self.release_name)))
        self.host = self.machine.host
        self.auditor = Auditor(self.host)
        for domid, flags in ((1, kind), (2, 0), (3, 0)):
            self.run_to_end(CreateDomain(domid, flags))
            self.run_to_end(MaxMem(domid, 4 * (UINT_MAX if domid == 3 else 4000)))
            self.run_to_end(UnpauseDomain(domid))
        self.run_to_end(PopulatePhysmap(1, ((0, 60),)))
        self.run_to_end(IncreaseReservation(2, 60))
        if spare is not None:
            self.run_to_end(IncreaseReservation(3, (self.host.heap.total_avail - spare) >> 5, 5))
            self.run_to_end(IncreaseReservation(3, self.host.heap.total_avail - spare))

    # What callers do

    def room(self) -> bool:
        return len(self.under_way) < MOST_UNDER_WAY

    @precondition(room)
    @rule(caller=CALLERS, request=REQUESTS)
    def ask(self, caller: Caller, request: Request) -> None:
        """Somebody asks for anything."""
        self.submit(caller, request)

    @precondition(room)
    @rule(
        domid=st.sampled_from((1, 2)),
        percent=st.sampled_from((20, 50, 100)),
        order=st.sampled_from((0, 0, 1, 2)),
        builders=st.integers(1, 2),
    )
    def build(self, domid: int, percent: int, order: int, builders: int) -> None:
        """A toolstack claims a share of what is unclaimed and fills it: the case that leans on a claim."""
        domain = self.host.find(domid)
        if domain is not None:
            unclaimed = max(self.host.heap.total_avail - self.host.outstanding_claims, 0)
            share = unclaimed * percent // 100
            self.submit(CONTROL, ClaimPages(domid, domain.tot_pages + share))
            for _ in range(builders):
                self.submit(CONTROL, IncreaseReservation(domid, max(share >> order, 1), order))

    @precondition(room)
    @rule(domid=st.sampled_from((1, 2, 3)), room_left=st.integers(-3, 20))
    def clamp(self, domid: int, room_left: int) -> None:
        """A toolstack sets max_pages near, or below, what the domain has."""
        domain = self.host.find(domid)
        if domain is not None:
            self.submit(CONTROL, MaxMem(domid, 4 * max(domain.tot_pages + room_left, 0)))

    @precondition(room)
    @rule(domid=st.sampled_from((1, 2, 3)), total=st.sampled_from((1_000_000, 300, 200)))
    def claim_now(self, domid: int, total: int) -> None:
        """A toolstack claims at this moment, maybe in the middle of a populate or on a dying domain."""
        self.step(self.submit(CONTROL, ClaimPages(domid, total)))

    @precondition(lambda self: self.room() and self.host.outstanding_claims > self.host.heap.total_avail)
    @rule()
    def claim_in_the_window(self) -> None:
        """A toolstack claims more than the host has while free - claims is negative (C14)."""
        claimless = [one for one in self.host.domids[1:] if not self.host.domains[one].outstanding_pages]
        domid = claimless[0] if claimless else 9
        for request in (MaxMem(domid, 4 * UINT_MAX), ClaimPages(domid, 1_000_000)):
            operation = self.submit(CONTROL, request)
            if self.machine.is_runnable(operation):
                self.step(operation)

    @precondition(room)
    @rule(domid=st.sampled_from((1, 2)), flags=st.sampled_from((CDF_HVM, 0)))
    def revive(self, domid: int, flags: int) -> None:
        """A toolstack makes the domain anew, under its old number, if it went."""
        if self.host.find(domid) is None:
            self.submit(CONTROL, CreateDomain(domid, flags))
            self.submit(CONTROL, MaxMem(domid, 4 * 400))

    @precondition(room)
    @rule(at=st.integers(0, 5000), count=st.integers(1, 8), what=st.integers(0, 5), domid=st.integers(0, 3))
    def use_frames(self, at: int, count: int, what: int, domid: int) -> None:
        """Somebody names frames that the domain really has."""
        domain = self.host.find(domid)
        names = [] if domain is None else self.names_of(domain)
        if not names:
            return
        start = at % len(names)
        named = tuple((name, 1) for name in names[start : start + count])
        requests: tuple[Request, ...] = (
            DecreaseReservation(domid, named),
            DecreaseReservation(domid, named),
            MapForeign(domid, named),
            UnmapForeign(domid, named),
            MemoryExchange(domid, named, 0, domid, tuple((2000 + name, 1) for name, _ in named), 0),
            MemoryExchange(domid, named * 2, 0, domid, named * 2, 0),
        )
        self.submit(
            CONTROL if domain is None or at % 3 else Caller(domid, domain.incarnation), requests[what]
        )

    @precondition(room)
    @rule(domid=st.sampled_from((1, 1, 2, 3)), really=st.booleans())
    def kill(self, domid: int, really: bool) -> None:
        """A toolstack destroys a domain in the middle of whatever goes on."""
        if really:
            self.submit(CONTROL, DestroyDomain(domid))

    # Who moves next

    @rule(choices=st.lists(st.integers(0, MOST_UNDER_WAY - 1), min_size=1, max_size=40))
    def advance(self, choices: list[int]) -> None:
        """Runnable requests take one step each in the given order."""
        for choice in choices:
            runnable = [one for one in self.under_way if self.machine.is_runnable(one)]
            if not runnable:
                return
            self.step(runnable[choice % len(runnable)])

    @rule()
    def settle(self) -> None:
        """All requests that can end do; then nothing is in flight and everything is accounted for."""
        while runnable := [one for one in self.under_way if self.machine.is_runnable(one)]:
            for operation in runnable:
                while self.machine.is_runnable(operation):
                    self.step(operation)
        assert all(operation.parked for operation in self.under_way), "a lock is held by nobody under way"
        self.judge(check(self.host, ()))
        assert self.host.in_flight_pages == 0
        for domid in self.host.domids:
            assert self.host.frames.held(domid) == self.host.domains[domid].tot_pages

    def quiet(self) -> bool:
        return all(operation.parked for operation in self.under_way)

    @precondition(quiet)
    @rule(caller=CALLERS, request=REQUESTS)
    def ask_alone(self, caller: Caller, request: Request) -> None:
        """A request with nobody else moving: refused, it leaves no trace but what a rule permits (I9)."""
        self.ask_alone_now(caller, request)

    def ask_alone_now(self, caller: Caller, request: Request) -> None:
        before, digest = contents(self.host), self.host.digest()
        operation = self.submit(caller, request)
        names: list[str] = []
        while self.machine.is_runnable(operation):
            names.append(self.step(operation))
        if operation.reply is not None:
            after = contents(self.host)
            assert (before == after) <= (digest == self.host.digest())
            self.judge(trace(before, after, request, operation.reply, names))

    # Judgement

    def submit(self, caller: Caller, request: Request) -> Operation:
        operation = self.machine.submit(caller, request)
        self.under_way.append(operation)
        return operation

    def run_to_end(self, request: Request) -> None:
        operation = self.submit(CONTROL, request)
        while operation.reply is None:
            self.step(operation)

    def step(self, operation: Operation) -> str:
        declared = operation.pending
        assert declared is not None
        self.sound = False
        result = self.machine.step(operation)
        self.steps += 1
        assert result.commit == self.machine.commit
        self.under_way = [one for one in self.under_way if one.reply is None and not one.abandoned]
        pending = [one.pending for one in self.under_way if one.pending is not None]
        self.judge(self.auditor.after(declared) + check_counters(self.host, pending))
        if self.steps % FRAMES_EVERY == 0:
            self.judge(check_frames(self.host))
        if result.reply is not None:
            self.judge_reply(operation.request, result.reply)
            self.judge_answer(operation.caller, operation.request, result.reply)
        self.sound = True
        return result.step

    def judge(self, broken: tuple[Broken, ...]) -> None:
        assert unpermitted(broken, self.host.release) == ()

    def judge_reply(self, request: Request, reply: Reply) -> None:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(reply), type=Reply) == reply
        assert 0 < reply.first <= reply.last == self.machine.commit
        if reply.ret < 0:
            assert Errno(-reply.ret) is not None
        elif isinstance(request, PopulatePhysmap | IncreaseReservation | DecreaseReservation):
            assert request.start_extent <= reply.ret <= max(request.nr_extents, request.start_extent)
        elif not isinstance(request, MemoryExchange):
            return
        if isinstance(request, PopulatePhysmap | IncreaseReservation | DecreaseReservation) and reply.ret < 0:
            assert (self.host.release.name, reply.ret) == ("4.3", -Errno.EPERM), "A3, A4"

    def judge_answer(self, caller: Caller, request: Request, reply: Reply) -> None:
        """What a subclass knows about answers, told in the order in which the requests ended."""

    def names_of(self, domain: Domain) -> list[int]:
        """The names by which the domain's caller knows some of its frames."""
        if domain.p2m is not None:
            return [gfn for gfn, _, _ in domain.p2m.leaves()]
        run = self.host.frames.next_run(domain.domid, 0, 64)
        return [] if run is None else list(range(run[0], run[0] + run[1]))

    def teardown(self) -> None:
        """When all domains have gone their memory is back in the heap, but what a release leaks."""
        if not self.sound:
            return  # a step failed already: that is the failure to tell of
        self.settle()
        for domid in tuple(self.host.domids):
            while (
                (domain := self.host.find(domid)) is not None and domain.pause_count and not domain.is_dying
            ):
                self.run_to_end(UnpauseDomain(domid))
        self.settle()
        for mfn in range(self.host.total_pages):
            for _ in range(self.host.frames.references(mfn)):
                self.run_to_end(UnmapForeign(self.host.frames.owner(mfn), ((mfn, 1),)))
        for domid in tuple(self.host.domids):
            while domid and self.host.find(domid) is not None:
                self.run_to_end(DestroyDomain(domid))
        self.settle()
        self.before_the_last_look()
        assert self.host.domids == [0]
        assert self.host.xen_pages == 40
        assert self.host.dangling == {}
        assert self.host.heap.total_avail == self.host.total_pages - 40 - self.host.domains[0].tot_pages

    def before_the_last_look(self) -> None:
        """What a subclass must give back before everything is counted."""


def explore(name: str, examples: int, length: int, base: type[AnyInterleaving] = AnyInterleaving) -> None:
    """Run the state machine of one release, a class named so that a failure tells which."""
    machine = type(f"{base.__name__}On{name.replace('.', '_')}", (base,), {"release_name": name})
    wanted = settings(
        settings(),
        max_examples=examples,
        stateful_step_count=length,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    run_state_machine_as_test(machine, settings=wanted)


INVARIANTS = pytest.mark.rule(
    "I1", "I2", "I3", "I4", "I5", "I6", "I9", "P1", "P2", "P3", "P4", "P5", "P9", "P10"
)


@INVARIANTS
@pytest.mark.timeout(600)  # only a failure takes long: it is shrunk to its shortest form
@pytest.mark.parametrize("name", tuple(RELEASES))
def test_invariants_hold_after_every_step(name: str) -> None:
    """No interleaving of any requests breaks an invariant that the release does not break itself."""
    explore(name, examples=40, length=50)


@INVARIANTS
@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", tuple(RELEASES))
def test_invariants_hold_in_long_histories(name: str) -> None:
    """The same over many and longer histories."""
    explore(name, examples=400, length=120)
