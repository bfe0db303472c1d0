"""One domain's accounting state (struct domain; rules 0.2, C35)."""

from array import array
from dataclasses import dataclass, field
from enum import IntEnum

from hypervisor.core.heap.p2m import PhysMap
from hypervisor.core.pod.state import Pod
from hypervisor.public.units import DomId, Gfn, NodeId, Pages


class Dying(IntEnum):
    """d->is_dying (rule 0.2)."""

    ALIVE = 0
    DYING = 1
    DEAD = 2


def _frames() -> "array[int]":
    return array("Q")


@dataclass(slots=True)
class Domain:
    """What Xen knows of a domain. Quantities are pages."""

    domid: DomId
    incarnation: int
    hvm: bool
    hap: bool
    max_vcpus: int
    tot_pages: Pages = 0
    max_pages: Pages = 0
    outstanding_pages: Pages = 0
    is_dying: Dying = Dying.ALIVE
    pause_count: int = 0
    is_shut_down: bool = False
    """Crashed: its vcpus never run again, and it waits to be destroyed."""
    mem_sharing_enabled: bool = False
    shr_pages: Pages = 0
    """p2m entries of type shared: entries, not frames (S4, S13)."""
    shared_gfns: dict[Gfn, None] = field(default_factory=dict[Gfn, None])
    """Where they are; the frames behind them belong to dom_cow."""
    pod: Pod = field(default_factory=Pod)
    paged_pages: Pages = 0
    claims: dict[NodeId, Pages] = field(default_factory=dict[NodeId, Pages])
    """The part of the claim that is on single nodes, by node; none is 0 (N4)."""
    node_claims: Pages = 0
    """Sum of `claims`; outstanding_pages less this is the host-wide part (N4)."""
    vnode_to_pnode: tuple[NodeId | None, ...] = ()
    """The node behind each virtual node, None for no node in particular; empty: no vNUMA (A3)."""
    last_alloc_node: NodeId = -1
    node_affinity: tuple[NodeId, ...] = ()
    p2m: PhysMap | None = None
    structure_frames: "array[int]" = field(default_factory=_frames)
    """Xen's own pages for this domain: struct domain and the like (anonymous, not in tot_pages)."""
    paging_pool: "array[int]" = field(default_factory=_frames)
    """HAP pool pages (MEMF_no_owner: not in tot_pages)."""

    @property
    def runs(self) -> bool:
        """Whether its vcpus run: neither paused nor shut down."""
        return not self.pause_count and not self.is_shut_down

    @property
    def xen_pages(self) -> Pages:
        """Pages that Xen spends on this domain beside tot_pages."""
        return len(self.structure_frames) + len(self.paging_pool)
