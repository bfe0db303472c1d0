"""Sharing and populate-on-demand in any interleaving: the books balance, and nobody sees another's write."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.releases import RELEASES, release
from hypervisor.core.steps import Caller
from hypervisor.core.transitions import Auditor
from hypervisor.public.access import PageContent, ReadPage, WritePage
from hypervisor.public.domctl import CDF_HAP, CDF_HVM, CreateDomain, MaxMem, PauseDomain, UnpauseDomain
from hypervisor.public.memory import (
    MEMF_POPULATE_ON_DEMAND,
    DecreaseReservation,
    IncreaseReservation,
    PopulatePhysmap,
)
from hypervisor.public.pod import GetPodTarget, SetPodTarget
from hypervisor.public.requests import Reply, Request
from hypervisor.public.sharing import (
    C_HANDLE_INVALID,
    S_HANDLE_INVALID,
    GetSharingFreedPages,
    GetSharingSharedPages,
    MemSharingControl,
    SharingAddPhysmap,
    SharingAudit,
    SharingNominateGfn,
    SharingOther,
    SharingRangeShare,
    SharingRing,
    SharingShare,
)
from hypervisor.public.units import UINT_MAX
from tests.core.test_state_machine import CONTROL, NODES, AnyInterleaving, explore

HAP = CDF_HVM | CDF_HAP
SHARERS = st.sampled_from((1, 2))
GFNS = st.sampled_from((0, 0, 1, 1, 2, 3, 30, 70, 512, 513, 1100))
UNSEEN = frozenset(
    {"take", "give back", "merge", "claim", "max_mem", "pause", "unpause", "visit", "physinfo"}
)
"""Steps that touch no physmap and no content."""
View = dict[tuple[int, int, int], tuple[int, int]]
"""(domid, incarnation, gfn) to (mfn, content)."""


class SharingInterleaving(AnyInterleaving):
    """The same callers; domains 1 and 2 are HVM and share from the start."""

    @initialize(
        nodes=st.sampled_from(NODES[1:]),
        threshold=st.sampled_from((0, 1, 64, None)),
        spare=st.sampled_from((None, 0, 2, 10, 40)),
        shared=st.integers(0, 6),
        marked=st.sampled_from((0, 0, 40, 512)),
    )
    def boot_sharers(
        self, nodes: tuple[int, ...], threshold: int | None, spare: int | None, shared: int, marked: int
    ) -> None:
        """Two sharers with pages in common and gfns to populate, and a third that leaves `spare` pages."""
        config = HostConfig(nodes, dom0_pages=24, xen_pages=40, low_mem_virq_pages=threshold)
        self.machine = Machine(new_host(config, release(self.release_name)))
        self.host = self.machine.host
        self.auditor = Auditor(self.host)
        for domid, flags in ((1, HAP), (2, HAP), (3, 0)):
            self.run_to_end(CreateDomain(domid, flags))
            self.run_to_end(MaxMem(domid, 4 * (UINT_MAX if domid == 3 else 4000)))
            self.run_to_end(UnpauseDomain(domid))
        for domid in (1, 2):
            self.run_to_end(PopulatePhysmap(domid, ((0, 8),)))
            self.run_to_end(MemSharingControl(domid, True))
            if marked:
                order = 9 if marked == 512 else 0
                extents = ((512, marked >> order),)
                self.run_to_end(PopulatePhysmap(domid, extents, order, MEMF_POPULATE_ON_DEMAND))
                self.run_to_end(SetPodTarget(domid, 20))
        for gfn in range(shared):
            self.run_to_end(WritePage(gfn, 1000 + gfn, 1))
            for domid in (1, 2):
                self.run_to_end(SharingNominateGfn(domid, gfn))
            self.submit_share(1, gfn, 2, gfn)
            self.settle()
        if spare is not None:
            free = self.host.heap.total_avail
            self.run_to_end(IncreaseReservation(3, max(free - spare, 0) >> 5, 5))
            self.run_to_end(IncreaseReservation(3, max(self.host.heap.total_avail - spare, 0)))

    def __init__(self) -> None:
        super().__init__()
        self.seen: View = {}
        """As it was after the last step that could change it."""

    def boot(self) -> None:  # type: ignore[override]  # replaces the base class's own beginning
        """Nothing: boot_sharers boots."""

    def handle(self, domid: int, gfn: int) -> int:
        domain = self.host.find(domid)
        mfn = domain.p2m.lookup(gfn) if domain is not None and domain.p2m is not None else None
        frame = None if mfn is None else self.host.sharing.frames.get(mfn)
        return 0 if frame is None else frame.handle

    def submit_share(self, source: int, gfn: int, client: int, other: int) -> None:
        self.submit(
            CONTROL,
            SharingShare(source, gfn, self.handle(source, gfn), client, other, self.handle(client, other)),
        )

    def as_guest(self, domid: int, request: Request) -> None:
        domain = self.host.find(domid)
        if domain is not None:
            self.submit(Caller(domid, domain.incarnation), request)

    @precondition(AnyInterleaving.room)
    @rule(domid=SHARERS, gfn=GFNS, content=st.integers(0, 9), control=st.booleans())
    def write(self, domid: int, gfn: int, content: int, control: bool) -> None:
        """A guest, or the control domain for it, writes a page."""
        if control:
            self.submit(CONTROL, WritePage(gfn, content, domid))
        else:
            self.as_guest(domid, WritePage(gfn, content))

    @precondition(AnyInterleaving.room)
    @rule(domid=SHARERS, gfn=GFNS)
    def read(self, domid: int, gfn: int) -> None:
        """A guest reads a page."""
        self.as_guest(domid, ReadPage(gfn))

    @precondition(AnyInterleaving.room)
    @rule(domid=SHARERS, gfn=GFNS, other=GFNS, what=st.integers(0, 5))
    def share(self, domid: int, gfn: int, other: int, what: int) -> None:
        """A tool nominates, shares, or plugs a hole, with the right handles or a wrong one."""
        client = 3 - domid
        match what:
            case 0 | 1:
                self.submit(CONTROL, SharingNominateGfn(domid, gfn))
            case 2 | 3:
                self.submit_share(domid, gfn, client, other)
            case 4:
                self.submit(
                    CONTROL, SharingAddPhysmap(domid, gfn, self.handle(domid, gfn), client, other + 20)
                )
            case _:
                self.submit(CONTROL, SharingShare(domid, gfn, other, client, other, gfn))

    @precondition(AnyInterleaving.room)
    @rule(domid=SHARERS, op=st.sampled_from((0, 0, 1, 2, 2, 9)))
    def ring(self, domid: int, op: int) -> None:
        """A helper comes, answers, or goes."""
        self.submit(CONTROL, SharingRing(domid, op))

    @precondition(AnyInterleaving.quiet)
    @rule(first=st.integers(0, 4), count=st.integers(0, 4))
    def share_a_range(self, first: int, count: int) -> None:
        """A tool shares all it can of two paused domains."""
        requests: tuple[Request, ...] = (
            *(PauseDomain(domid) for domid in (1, 2)),
            SharingRangeShare(1, 2, first, first + count),
            *(UnpauseDomain(domid) for domid in (1, 2)),
        )
        for request in requests:
            self.submit(CONTROL, request)

    @precondition(AnyInterleaving.room)
    @rule(
        domid=SHARERS,
        gfn=GFNS,
        count=st.sampled_from((1, 1, 20, 40)),
        wanted=st.integers(0, 700),
        what=st.integers(0, 4),
    )
    def on_demand(self, domid: int, gfn: int, count: int, wanted: int, what: int) -> None:
        """A builder marks gfns, a toolstack moves the target, a balloon driver gives entries back."""
        match what:
            case 0:
                request: Request = PopulatePhysmap(domid, ((gfn, count),), 0, MEMF_POPULATE_ON_DEMAND)
            case 1:
                request = PopulatePhysmap(domid, ((512 * (gfn % 3), 1),), 9, MEMF_POPULATE_ON_DEMAND)
            case 2:
                request = SetPodTarget(domid, wanted)
            case 3:
                request = GetPodTarget(domid)
            case _:
                self.as_guest(domid, DecreaseReservation(domid, ((gfn, min(count, 20)),)))
                return
        self.submit(CONTROL, request)

    @precondition(AnyInterleaving.quiet)
    @rule(domid=SHARERS, gfn=GFNS, what=st.integers(0, 3), number=st.integers(0, 3))
    def sharing_alone(self, domid: int, gfn: int, what: int, number: int) -> None:
        """Bad and good requests with nobody else moving: refused, they leave no trace (I9)."""
        requests: tuple[Request, ...] = (
            WritePage(gfn, 7, domid),
            SetPodTarget(domid, 40 * number),
            SharingNominateGfn(domid, gfn),
            SharingOther(domid, number + 9),
        )
        self.ask_alone_now(CONTROL, requests[what])

    @rule()
    def figures(self) -> None:
        """Anyone reads the counters; the audit finds nothing."""
        assert self.ask_now(SharingAudit()) == 0
        shared, saved = self.ask_now(GetSharingSharedPages()), self.ask_now(GetSharingFreedPages())
        domains = self.host.domains.values()
        assert shared + saved == sum(domain.shr_pages for domain in domains), "S4"

    def ask_now(self, request: Request) -> int:
        operation = self.submit(CONTROL, request)
        while operation.reply is None:
            self.step(operation)
        return operation.reply.ret

    # Judgement

    def step(self, operation: Operation) -> str:
        name = "" if operation.pending is None else operation.pending.name
        done = super().step(operation)
        if name not in UNSEEN:
            before, self.seen = self.seen, self.view()
            self.judge_view(name, operation, before, self.seen)
        return done

    def view(self) -> View:
        """What every living domain sees."""
        seen: View = {}
        for domid in (1, 2):
            domain = self.host.find(domid)
            if domain is None or domain.p2m is None or domain.is_dying:
                continue
            for gfn, mfn, order in domain.p2m.leaves():
                if order == 0:
                    seen[domid, domain.incarnation, gfn] = (mfn, self.host.contents.get(mfn))
        return seen

    def judge_view(self, name: str, operation: Operation, before: View, after: View) -> None:
        """I8: a write is seen by its domain alone; a copy, a nominate or a break changes no content."""
        request = operation.request
        for key, (mfn, content) in after.items():
            was = before.get(key)
            if was is None or was[1] == content:
                continue
            if name == "write" and isinstance(request, WritePage):
                writer = operation.caller.domid or request.domid
                assert (writer, request.gfn, request.content) == (key[0], key[2], content), "another's write"
            elif name in ("sharing", "share range"):
                assert mfn != was[0] and mfn in self.host.sharing.frames, "a page changed under its owner"
            else:
                assert mfn != was[0] and name in ("map", "assign"), f"{name} changed a content"

    def judge_reply(self, request: Request, reply: Reply) -> None:
        if reply.ret in (S_HANDLE_INVALID, C_HANDLE_INVALID):
            assert isinstance(request, SharingShare | SharingAddPhysmap)
        else:
            super().judge_reply(request, reply)

    def judge_answer(self, caller: Caller, request: Request, reply: Reply) -> None:
        """A read tells what its domain's gfn holds at its last step."""
        if isinstance(request, ReadPage) and reply.ret == 0:
            domain = self.host.domains[caller.domid or request.domid]
            assert domain.p2m is not None and isinstance(reply.value, PageContent)
            mfn = domain.p2m.lookup(request.gfn)
            assert mfn is not None and reply.value.content == self.host.contents.get(mfn)

    def before_the_last_look(self) -> None:
        """Nothing is left of sharing when everybody has gone."""
        sharing = self.host.sharing
        assert (sharing.nr_shared, sharing.nr_saved, sharing.frames, sharing.rings) == (0, 0, {}, {})
        assert not self.host.contents


MARKS = pytest.mark.rule(
    "I1", "I2", "I3", "I4", "I5", "I6", "I8", "I9", "S4", "S9", "S10", "S12", "A29", "A30"
)


@MARKS
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", tuple(RELEASES))
def test_sharing_is_sound_after_every_step(name: str) -> None:
    """No interleaving breaks an invariant the release does not break, and no sharer sees another's write."""
    explore(name, 25, 50, SharingInterleaving)


@MARKS
@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", tuple(RELEASES))
def test_sharing_is_sound_in_long_histories(name: str) -> None:
    """The same over many and longer histories."""
    explore(name, 300, 120, SharingInterleaving)
