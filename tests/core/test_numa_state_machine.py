"""Claim sets and offlining in any interleaving, on hosts of several nodes: I1 to I6 and I11 at every step."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from hypervisor.core.heap.frames import FREE
from hypervisor.core.retire import OFFLINED
from hypervisor.core.steps import Caller
from hypervisor.public.domctl import CDF_HAP, CDF_HVM, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import IncreaseReservation, memf_exact_node
from hypervisor.public.numa import CLAIM_TARGET_GLOBAL, CLAIM_TARGET_LEGACY, ClaimMemory, MemoryClaim
from hypervisor.public.offlining import PAGE_OFFLINE, PAGE_ONLINE, PageOfflineOp
from hypervisor.public.requests import Reply, Request
from tests.core.requests_for_small_host import CALLERS, NUMA
from tests.core.test_state_machine import CONTROL, AnyInterleaving, explore

SHARES = st.lists(st.sampled_from((0, 0, 10, 50, 100)), min_size=3, max_size=3)
ERRORS = frozenset(
    -one
    for one in (Errno.EPERM, Errno.ESRCH, Errno.E2BIG, Errno.ENOMEM, Errno.EINVAL, Errno.ENOENT, Errno.ENOSYS)
)


class WithNodes(AnyInterleaving):
    """As the base, with claims on nodes and frames that go out of service and come back."""

    @initialize(
        nodes=st.sampled_from(((600, 700), (1024, 512), (400, 512, 600))),
        threshold=st.sampled_from((1, 64)),
        kind=st.sampled_from((CDF_HVM, CDF_HVM | CDF_HAP)),
        spare=st.sampled_from((None, 20, 60, 150)),
    )
    def boot(self, nodes: tuple[int, ...], threshold: int | None, kind: int, spare: int | None) -> None:
        """As the base, with several nodes."""
        super().boot(nodes, threshold, kind, spare)

    @precondition(AnyInterleaving.room)
    @rule(
        builder=st.sampled_from((1, 2)),
        stranger=st.sampled_from((1, 2, 3)),
        node=st.integers(0, 2),
        host_wide=st.integers(0, 10),
        more=st.integers(-3, 5),
        what=st.integers(0, 2),
    )
    def squeeze_a_node(
        self, builder: int, stranger: int, node: int, host_wide: int, more: int, what: int
    ) -> None:
        """A node is claimed to its last page; somebody asks for it, or frames of it go out of service."""
        count = self.host.heap.node_count
        if self.host.find(builder) is None or node >= count:
            return
        own = self.host.domains[builder].claims.get(node, 0)
        claims = (MemoryClaim(self.unclaimed_on(node) + own, node), MemoryClaim(host_wide))
        claiming = self.submit(CONTROL, ClaimMemory(builder, claims))
        if self.machine.is_runnable(claiming):
            self.step(claiming)
        if what == 0:
            first = next((mfn for mfn, _ in self.host.heap.free_blocks() if self.on(mfn) == node), 0)
            self.submit(CONTROL, PageOfflineOp(PAGE_OFFLINE, first, first + max(more, 0)))
        else:
            pages = max(self.unclaimed_on(node), 0) + more + 3
            flags = memf_exact_node(node) if what == 1 else 0
            self.submit(CONTROL, IncreaseReservation(stranger, pages, 0, flags))

    def on(self, mfn: int) -> int:
        return self.host.heap.node_of(mfn)

    @precondition(AnyInterleaving.room)
    @rule(caller=CALLERS, request=NUMA)
    def ask_about_nodes(self, caller: Caller, request: Request) -> None:
        """Somebody asks for anything that has to do with nodes or with frames out of service."""
        self.submit(caller, request)

    @precondition(AnyInterleaving.room)
    @rule(
        domid=st.sampled_from((1, 2)),
        shares=SHARES,
        host_wide=st.sampled_from((None, 0, 30, 100)),
        order=st.sampled_from((0, 0, 1, 3)),
        at_once=st.booleans(),
    )
    def build_on_nodes(
        self, domid: int, shares: list[int], host_wide: int | None, order: int, at_once: bool
    ) -> None:
        """A toolstack claims shares of what the nodes have unclaimed, and fills them, maybe with a detour."""
        if self.host.find(domid) is None:
            return
        wanted = {
            node: max(self.unclaimed_on(node), 0) * share // 100
            for node, share in enumerate(shares[: self.host.heap.node_count])
        }
        claims = [MemoryClaim(pages, node) for node, pages in wanted.items()]
        if host_wide is not None:
            left = max(self.host.heap.total_avail - self.host.outstanding_claims - sum(wanted.values()), 0)
            claims.append(MemoryClaim(left * host_wide // 100, CLAIM_TARGET_GLOBAL))
        claiming = self.submit(CONTROL, ClaimMemory(domid, tuple(claims)))
        if at_once and self.machine.is_runnable(claiming):
            self.step(claiming)
        for node in (0, self.host.heap.node_count - 1):
            pages = max(wanted[node] >> order, 1)
            self.submit(CONTROL, IncreaseReservation(domid, pages, order, memf_exact_node(node)))

    def unclaimed_on(self, node: int) -> int:
        return self.host.heap.node_avail(node) - self.host.node_outstanding_claims.get(node, 0)

    @precondition(AnyInterleaving.room)
    @rule(
        at=st.integers(0, 5000), count=st.integers(1, 6), wanted=st.sampled_from((FREE, FREE, 1, 2, OFFLINED))
    )
    def retire(self, at: int, count: int, wanted: int) -> None:
        """An administrator takes frames out of service, free ones or some domain's, or puts them back."""
        mfns = [mfn for mfn in range(self.host.total_pages) if self.host.frames.owner(mfn) == wanted]
        if mfns:
            mfn = mfns[at % len(mfns)]
            last = min(mfn + count, self.host.total_pages) - 1
            self.submit(
                CONTROL, PageOfflineOp(PAGE_ONLINE if wanted == OFFLINED else PAGE_OFFLINE, mfn, last)
            )

    @precondition(AnyInterleaving.room)
    @rule(domid=st.sampled_from((1, 2)))
    def tighten(self, domid: int) -> None:
        """max_pages just above what the domain has and has claimed, so that DSM-1 comes about."""
        domain = self.host.find(domid)
        if domain is not None:
            self.submit(CONTROL, MaxMem(domid, 4 * (domain.tot_pages + domain.outstanding_pages + 4)))

    def judge_answer(self, caller: Caller, request: Request, reply: Reply) -> None:
        """A set that was accepted is the one that stands; any other answer is one of the rule's errnos."""
        if not isinstance(request, ClaimMemory):
            return
        assert reply.ret == 0 or reply.ret in ERRORS
        if reply.ret or request.claims[0].target == CLAIM_TARGET_LEGACY:
            return
        domain = self.host.domains[request.domid]
        nodes = {one.target: one.pages for one in request.claims if one.target < 64 and one.pages}
        assert domain.claims == nodes
        assert domain.outstanding_pages == sum(one.pages for one in request.claims)
        assert domain.tot_pages + domain.outstanding_pages <= domain.max_pages

    def before_the_last_look(self) -> None:
        """Everything comes back into service."""
        for mfn in range(self.host.total_pages):
            if mfn in self.host.offlining or self.host.frames.owner(mfn) == OFFLINED:
                self.run_to_end(PageOfflineOp(PAGE_ONLINE, mfn, mfn))
        assert self.host.offlined_pages == 0
        assert self.host.node_outstanding_claims == {}


INVARIANTS = pytest.mark.rule(
    "I1", "I2", "I3", "I4", "I5", "I6", "I9", "I11", "N2", "N3", "N4", "N5", "N6", "N7", "C28", "W9"
)


@INVARIANTS
@pytest.mark.timeout(600)  # only a failure takes long: it is shrunk to its shortest form
@pytest.mark.parametrize(("name", "examples"), [("claim-sets", 40), ("4.22", 10), ("4.17", 10)])
def test_invariants_hold_with_node_claims_and_offlining(name: str, examples: int) -> None:
    """No interleaving of claim sets, allocations and offlining breaks what the release does not break."""
    explore(name, examples=examples, length=50, base=WithNodes)


@INVARIANTS
@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", ["claim-sets", "4.22", "4.21", "4.17", "4.3"])
def test_invariants_hold_with_node_claims_in_long_histories(name: str) -> None:
    """The same over many and longer histories."""
    explore(name, examples=300, length=120, base=WithNodes)
