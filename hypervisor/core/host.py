"""The state of one host: what Xen's page allocator and domain list hold, as data (section 0)."""

import hashlib
from bisect import bisect_left, insort
from dataclasses import dataclass, field

import msgspec

from hypervisor.core.domain import Domain
from hypervisor.core.dynamic import Mediation, ReservationRing
from hypervisor.core.heap.buddy import FrameHeap
from hypervisor.core.heap.contents import FrameContents
from hypervisor.core.heap.frames import FREE, FrameTable
from hypervisor.core.heap.interface import Heap
from hypervisor.core.low_memory import LowMemoryVirq
from hypervisor.core.releases import Release
from hypervisor.core.sharing.state import Sharing
from hypervisor.core.sources import Refusal, Source
from hypervisor.core.steps import Caller, Emission
from hypervisor.core.tmem.state import Tmem
from hypervisor.core.xenstore import StoreTree
from hypervisor.public.units import (
    DOMID_DOM0,
    DOMID_FIRST_RESERVED,
    DOMID_SELF,
    DOMID_XEN,
    MAX_ORDER,
    PAGES_PER_MIB,
    UINT_MAX,
    Commit,
    DomId,
    Mfn,
    NodeId,
    Order,
    Pages,
)


@dataclass(frozen=True, slots=True)
class HostConfig:
    """What a host is made of, in pages. Raises ValueError when dom0 and Xen leave nothing free."""

    node_pages: tuple[Pages, ...]
    """RAM of each NUMA node."""
    dom0_pages: Pages = 512 * PAGES_PER_MIB
    xen_pages: Pages = 32 * PAGES_PER_MIB
    """Xen's own memory at boot."""
    low_mem_virq_pages: Pages | None = None
    """Threshold of the low-memory VIRQ; None is Xen's default of 64 MiB (A27)."""
    llc_coloring: bool = False
    """Cache colouring: from 4.22 claims are refused with EOPNOTSUPP (C1)."""
    tmem: bool = False
    """Boot option tmem, off by default; releases from 4.13 on do not have it (T1)."""
    tmem_compress: bool = False
    """Boot option tmem_compress (T33)."""

    def __post_init__(self) -> None:
        if not self.node_pages or min(self.node_pages) <= 0:
            raise ValueError("a host needs at least one node with memory")
        if self.dom0_pages + self.xen_pages >= sum(self.node_pages):
            raise ValueError(
                f"dom0 ({self.dom0_pages} pages) and Xen ({self.xen_pages} pages) leave nothing of "
                f"{sum(self.node_pages)} pages; give the host more memory or dom0 less"
            )


@dataclass(slots=True)
class Host:
    """A host between two atomic steps. Only the steps of hypervisor/core change it."""

    release: Release
    heap: Heap
    frames: FrameTable
    low_memory: LowMemoryVirq
    total_pages: Pages
    llc_coloring: bool = False
    xen_pages: Pages = 0
    """Xen's own pages: those of boot plus what domains cost (structures, paging pools)."""
    outstanding_claims: int = 0
    """Sum of all claims as Xen keeps it: a number of its own, which a leak can leave too high (C9)."""
    node_outstanding_claims: dict[NodeId, Pages] = field(default_factory=dict[NodeId, Pages])
    """Claims on single nodes, by node; a node without an entry has none (N4)."""
    offlining: dict[Mfn, None] = field(default_factory=dict[Mfn, None])
    """Allocated frames that leave service when they are freed (PGC_state_offlining)."""
    offlined_pages: Pages = 0
    """Frames out of service (PGC_state_offlined): in no heap and nobody's."""
    xen_frames: tuple[tuple[Mfn, Order], ...] = ()
    """Extents of Xen's own image, taken at boot and never freed."""
    in_flight_pages: Pages = 0
    """Off the free lists and in no tot_pages: between heap and assign, or on the way back (7b)."""
    domains: dict[DomId, Domain] = field(default_factory=dict[DomId, Domain])
    domids: list[DomId] = field(default_factory=list[DomId])
    """Keys of `domains`, ascending: the order in which a listing visits them (C36)."""
    domids_changed: int = 0
    """How often `domids` has changed: whoever walks it between steps looks up his place again only then."""
    dangling: dict[int, DomId] = field(default_factory=dict[int, DomId])
    """mfn -> domain of pages given up by their domain but kept by a foreign mapping (A11)."""
    tmem: Tmem | None = None
    """Transcendent memory; None where the release has none, so that it costs nothing there."""
    rings: dict[Caller, ReservationRing] = field(default_factory=dict[Caller, ReservationRing])
    """P4's counterfactual: who is told of every change of tot_pages."""
    mediation: Mediation = field(default_factory=Mediation)
    """P5's counterfactual: who must be asked before a guest grows."""
    current: DomId = DOMID_DOM0
    """current->domain: whose request the step in progress is part of."""
    next_domid: DomId = 1
    next_incarnation: int = 1
    store: StoreTree = field(default_factory=StoreTree)
    commit: Commit = 0
    emissions: list[Emission] = field(default_factory=list[Emission])
    """Events of the step in progress; the machine takes them out after it."""
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    """Allocations refused in the step in progress; the machine takes them out after it."""
    crashed: int = 0
    """Domains that domain_crash has stopped since boot; a tally, as `growth` is."""
    growth: dict[Source, Pages] = field(default_factory=dict[Source, Pages])
    """Pages that tot_pages of all domains together have grown by since the boot, and through what."""
    sharing: Sharing = field(default_factory=Sharing)
    contents: FrameContents = field(default_factory=FrameContents)
    unpaused: list[DomId] = field(default_factory=list[DomId])
    """Domains that began to run in the step in progress: their parked callers move again."""
    resumed: list[DomId] = field(default_factory=list[DomId])
    """Domains whose vcpus, paused in a fault, a helper let go in the step in progress (S10)."""
    gone: list[Caller] = field(default_factory=list[Caller])
    """Domains that left in the step in progress: their parked callers never return."""

    def emit(self, emission: Emission) -> None:
        """Let an event leave the core with the step in progress."""
        self.emissions.append(emission)

    def find(self, domid: DomId) -> Domain | None:
        """The domain with this real id, dying ones included (rcu_lock_domain_by_id)."""
        return self.domains.get(domid)

    def find_any(self, caller: Caller, domid: DomId) -> Domain | None:
        """As `find`, but DOMID_SELF means the caller (rcu_lock_domain_by_any_id)."""
        return self.domains.get(caller.domid if domid == DOMID_SELF else domid)

    def add_domain(self, domain: Domain) -> None:
        """Put a new domain on the list."""
        self.domains[domain.domid] = domain
        insort(self.domids, domain.domid)
        self.domids_changed += 1

    def remove_domain(self, domain: Domain) -> None:
        """Take a dead domain off the list."""
        del self.domains[domain.domid]
        self.domids.remove(domain.domid)
        self.domids_changed += 1
        self.gone.append(Caller(domain.domid, domain.incarnation))

    def next_domain(self, at_or_above: DomId) -> DomId | None:
        """The lowest domid in use at or above the given one."""
        index = bisect_left(self.domids, at_or_above)
        return self.domids[index] if index < len(self.domids) else None

    def free_domid(self) -> DomId | None:
        """The id that createdomain picks: the next above the last one given, wrapping (domctl.c)."""
        for _ in range(DOMID_FIRST_RESERVED):
            candidate, self.next_domid = self.next_domid, self.next_domid + 1
            if self.next_domid >= DOMID_FIRST_RESERVED:
                self.next_domid = 1
            if candidate not in self.domains:
                return candidate
        return None

    def digest(self) -> bytes:
        """16 bytes that differ when anything a rule speaks of differs. Commit number left out."""
        content = hashlib.blake2b(digest_size=16)
        content.update(msgspec.msgpack.encode(self._counters()))
        for domid in self.domids:
            content.update(msgspec.msgpack.encode(_domain_content(self.domains[domid])))
            p2m = self.domains[domid].p2m
            for part in p2m.digest_parts() if p2m is not None else ():
                content.update(part)
            for part in self.domains[domid].pod.digest_parts():
                content.update(part)
        for part in self.sharing.digest_parts():
            content.update(part)
        for part in self.contents.digest_parts():
            content.update(part)
        for part in self.heap.digest_parts():
            content.update(part)
        for part in self.frames.digest_parts():
            content.update(part)
        for part in self.store.digest_parts():
            content.update(part)
        for part in self.tmem.digest_parts() if self.tmem is not None else ():
            content.update(part)
        return content.digest()

    def future(self) -> bytes:
        """16 bytes that differ when anything that decides what comes next differs: `digest`, and what no
        rule of Xen speaks of (next numbers, where a search begins, who is told or asked).
        """
        own = [
            (one.last_alloc_node, one.pod.highest_touched, one.pod.sweep_from)
            for one in map(self.domains.__getitem__, self.domids)
        ]
        beside = (
            self.next_domid,
            self.next_incarnation,
            self.sharing.next_handle,
            self.sharing.next_fault,
            own,
            repr(self.mediation),
            repr(self.rings),
        )
        content = hashlib.blake2b(self.digest(), digest_size=16)
        content.update(msgspec.msgpack.encode(beside))
        return content.digest()

    def _counters(self) -> tuple[object, ...]:
        return (
            self.release.name,
            self.heap.total_avail,
            self.outstanding_claims,
            sorted(self.node_outstanding_claims.items()),
            sorted(self.offlining),
            self.xen_pages,
            self.in_flight_pages,
            sorted(self.dangling.items()),
            self.low_memory.content(),
        )


def _domain_content(domain: Domain) -> tuple[object, ...]:
    return (
        domain.domid,
        domain.incarnation,
        domain.hvm,
        domain.tot_pages,
        domain.max_pages,
        domain.outstanding_pages,
        int(domain.is_dying),
        domain.pause_count,
        domain.shr_pages,
        domain.is_shut_down,
        domain.mem_sharing_enabled,
        len(domain.structure_frames),
        len(domain.paging_pool),
        sorted(domain.claims.items()),
        domain.node_affinity,
        domain.vnode_to_pnode,
    )


def new_host(config: HostConfig, release: Release) -> Host:
    """A host that has just booted: Xen's own pages and dom0 are in place, the rest is free."""
    nodes: list[tuple[int, Pages]] = []
    first = 0
    for pages in config.node_pages:
        nodes.append((first, pages))
        first += pages
    host = Host(
        release=release,
        heap=FrameHeap(tuple(nodes)),
        frames=FrameTable(),
        low_memory=LowMemoryVirq(),
        total_pages=first,
        llc_coloring=config.llc_coloring,
    )
    host.xen_frames = _boot_pages(host, DOMID_XEN, config.xen_pages)
    host.xen_pages = config.xen_pages
    if release.tmem:
        host.tmem = Tmem(enabled=config.tmem, compress=config.tmem_compress)
        host.tmem.sample_midsize(host.heap.total_avail)
    _boot_dom0(host, config.dom0_pages)
    host.low_memory.set_up(config.low_mem_virq_pages, host.heap.total_avail)
    return host


def _boot_dom0(host: Host, pages: Pages) -> None:
    _boot_pages(host, DOMID_DOM0, pages)
    dom0 = Domain(domid=DOMID_DOM0, incarnation=0, hvm=False, hap=False, max_vcpus=1)
    dom0.tot_pages, dom0.max_pages = pages, UINT_MAX  # A15: dom0 is unlimited by default
    dom0.node_affinity = tuple(range(host.heap.node_count))
    host.add_domain(dom0)


def _boot_pages(host: Host, owner: DomId, pages: Pages) -> tuple[tuple[Mfn, Order], ...]:
    """Hand `pages` to `owner` in the largest blocks there are; the blocks."""
    nodes = tuple(range(host.heap.node_count))
    blocks: list[tuple[Mfn, Order]] = []
    order = MAX_ORDER
    while pages:
        order = min(order, pages.bit_length() - 1)
        mfn = host.heap.take(order, nodes)
        if mfn is None:
            order -= 1
            continue
        host.frames.set_owner(mfn, order, owner, FREE)
        blocks.append((mfn, order))
        pages -= 1 << order
    return tuple(blocks)
