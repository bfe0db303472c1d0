"""A small host of two nodes, and short names for claim sets, exact nodes and offlining."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypervisor.core.releases import Release, release
from hypervisor.core.steps import Caller
from hypervisor.core.transitions import Auditor
from hypervisor.public.memory import IncreaseReservation, memf_exact_node
from hypervisor.public.numa import CLAIM_TARGET_GLOBAL, ClaimMemory, MemoryClaim, Numainfo, NumaNodes
from hypervisor.public.offlining import (
    PAGE_OFFLINE,
    PAGE_ONLINE,
    QUERY_PAGE_OFFLINE,
    OfflineStatus,
    PageOfflineOp,
)
from hypervisor.public.units import Mfn, NodeId, Pages
from tests.core.small_host import CONTROL, SmallHost

TWO_NODES = (1024, 1024)


class NumaHost(SmallHost):
    """Two nodes of 4 MiB. `switches` turn single switches of a preset, to plant a design's bug."""

    def __init__(
        self, name: str | Release = "claim-sets", nodes: tuple[Pages, ...] = TWO_NODES, **switches: Any
    ) -> None:
        preset = release(name) if isinstance(name, str) else name
        super().__init__(replace(preset, **switches), nodes=nodes)

    def claim_set(
        self, who: Caller, nodes: dict[NodeId, Pages] | None = None, host_wide: Pages | None = None
    ) -> int:
        """XEN_DOMCTL_claim_memory with an entry for each node and, if given, one for the host."""
        claims = [MemoryClaim(pages, node) for node, pages in (nodes or {}).items()]
        if host_wide is not None:
            claims.append(MemoryClaim(host_wide, CLAIM_TARGET_GLOBAL))
        return self.ret(ClaimMemory(who.domid, tuple(claims)))

    def grow_on(self, who: Caller, node: NodeId, pages: Pages, order: int = 0) -> int:
        """Extents added to the domain from this node and no other, by the control domain."""
        return self.ret(IncreaseReservation(who.domid, pages >> order, order, memf_exact_node(node)))

    def leave_on_nodes(self, *pages: Pages) -> Caller:
        """A domain that takes the nodes' memory until exactly so much is free on each."""
        filler = self.create()
        for node, left in enumerate(pages):
            taken = self.node_free(node) - left
            request = IncreaseReservation(filler.domid, taken, 0, memf_exact_node(node))
            self.machine.run(self.machine.submit(CONTROL, request))
            assert self.node_free(node) == left
        self.auditor = Auditor(self.host)  # so many steps are not judged one by one
        return filler

    def node_free(self, node: NodeId) -> Pages:
        """Pages free on one node."""
        return self.host.heap.node_avail(node)

    def held(self, who: Caller) -> tuple[dict[NodeId, Pages], Pages]:
        """The domain's claims: by node, and host-wide."""
        domain = self.domain(who.domid)
        return dict(sorted(domain.claims.items())), domain.outstanding_pages - domain.node_claims

    def nodes_seen(self) -> tuple[tuple[Pages, Pages, Pages], ...]:
        """What numainfo tells: (memsize, memfree, claimed) of each node."""
        value = self.call(Numainfo()).value
        assert isinstance(value, NumaNodes)
        return tuple((one.memsize, one.memfree, one.claimed) for one in value.nodes)

    def offline(self, mfn: Mfn) -> int:
        """The status after taking one frame out of service."""
        return self._status(PAGE_OFFLINE, mfn)

    def online(self, mfn: Mfn) -> int:
        """The status after putting one frame back."""
        return self._status(PAGE_ONLINE, mfn)

    def query(self, mfn: Mfn) -> int:
        """The status of one frame."""
        return self._status(QUERY_PAGE_OFFLINE, mfn)

    def free_frame(self, node: NodeId = 0) -> Mfn:
        """A frame of this node that is free."""
        return next(mfn for mfn, _ in self.host.heap.free_blocks() if self.host.heap.node_of(mfn) == node)

    def _status(self, cmd: int, mfn: Mfn) -> int:
        reply = self.call(PageOfflineOp(cmd, mfn, mfn))
        assert reply.ret == 0
        assert isinstance(reply.value, OfflineStatus)
        return reply.value.status[0]
