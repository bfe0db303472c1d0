"""The locked regions of the page allocator: heap_lock and page_alloc_lock (sections 2c, 2e, 7b).

Each function is the inside of one region. Between two of them a request must yield, because others
run there in Xen.
"""

from dataclasses import dataclass

from hypervisor.core.claims import (
    adjust_tot_pages,
    allocation_refused,
    consume_claim,
    node_refused,
    unclaimed_pages,
)
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.heap.frames import FREE
from hypervisor.core.host import Host
from hypervisor.core.retire import retire_freed
from hypervisor.core.steps import Emission
from hypervisor.core.tmem.eviction import relinquish_page
from hypervisor.core.tmem.state import TMEM_OWNER, Tmem
from hypervisor.public.requests import VirqEvent
from hypervisor.public.units import (
    DOMID_IDLE,
    DOMID_XEN,
    VIRQ_DOM_EXC,
    VIRQ_ENOMEM,
    Mfn,
    NodeId,
    Order,
)

IN_FLIGHT = DOMID_IDLE
"""Owner of frames that are off the free lists and in nobody's tot_pages."""


SMALLEST_LARGE_ORDER: Order = 9
"""From this order on an extent is refused while tmem holds what is left (A25)."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an extent may come from: MEMF_* without the accounting bits (A18-A21)."""

    node: NodeId | None = None
    exact_node: bool = False
    below: Mfn | None = None
    """Every frame must lie under this one (address width limit)."""


ANYWHERE = Placement()


def take_extent(
    host: Host,
    domain: Domain | None,
    order: Order,
    placement: Placement = ANYWHERE,
    no_refcount: bool = False,
) -> Mfn | None:
    """alloc_heap_pages under heap_lock: claim test, buddy search, counters, low-memory VIRQ.

    `domain` None is an anonymous allocation, always held back by claims. None: refused, and nothing
    has changed. Otherwise the first frame of 2^order pages now in flight.
    """
    request = 1 << order
    if allocation_refused(host, domain, request, no_refcount):
        return None
    if host.tmem is not None and _served_by_tmem(host, host.tmem, order):
        mfn = relinquish_page(host, order)
        if mfn is not None:
            host.frames.set_owner(mfn, 0, IN_FLIGHT, TMEM_OWNER)
            host.in_flight_pages += 1
        return mfn
    nodes = nodes_to_try(host, domain, placement)
    if host.release.claim_sets:
        nodes = tuple(one for one in nodes if not node_refused(host, domain, request, no_refcount, one))
    mfn = host.heap.take(order, nodes, placement.below)
    if mfn is None:
        return None  # C18: fragmentation, node or width; eats no claim
    host.frames.set_owner(mfn, order, IN_FLIGHT, FREE)
    host.in_flight_pages += request
    if domain is not None:
        domain.last_alloc_node = host.heap.node_of(mfn)  # A22
        if host.release.claim_consumed_at_alloc and not no_refcount:
            # C23: stays consumed even if assign refuses
            consume_claim(host, domain, request, domain.last_alloc_node)
    _check_low_memory(host)
    return mfn


def _served_by_tmem(host: Host, tmem: Tmem, order: Order) -> bool:
    """With memory scarce, single pages come out of tmem and large extents not at all (A25).

    Orders 1 to 8 have the last 128th of memory to themselves.
    """
    mid = 0 < order < SMALLEST_LARGE_ORDER
    return not mid and host.heap.total_avail <= tmem.midsize and bool(tmem.freeable)


def assign_pages(host: Host, domain: Domain, mfn: Mfn, order: Order) -> bool:
    """assign_pages under page_alloc_lock: the extent becomes the domain's, or False (A12).

    tot_pages may already be over max_pages when max_pages was lowered; then nothing passes.
    """
    pages = 1 << order
    if domain.is_dying != Dying.ALIVE or domain.tot_pages + pages > domain.max_pages:
        return False
    adjust_tot_pages(host, domain, pages)
    host.frames.set_owner(mfn, order, domain.domid, IN_FLIGHT)
    host.in_flight_pages -= pages
    return True


def unassign_page(host: Host, domain: Domain, mfn: Mfn, order: Order) -> None:
    """free_domheap_pages, first half, under page_alloc_lock: tot_pages falls (A14, P3)."""
    adjust_tot_pages(host, domain, -(1 << order))
    host.frames.set_owner(mfn, order, IN_FLIGHT, domain.domid)
    host.in_flight_pages += 1 << order


def give_back(host: Host, mfn: Mfn, order: Order) -> None:
    """free_heap_pages under heap_lock: an extent in flight returns and merges (A14, A23)."""
    host.frames.set_owner(mfn, order, FREE, IN_FLIGHT)
    if host.contents:
        host.contents.forget(mfn, order)
    host.in_flight_pages -= 1 << order
    host.heap.give(mfn, order)
    if host.tmem is not None:
        host.tmem.sample_midsize(host.heap.total_avail)
    if host.offlining:
        retire_freed(host, mfn, order)


def keep_for_xen(host: Host, mfn: Mfn) -> None:
    """A page in flight becomes one of Xen's own (structures, paging pool)."""
    host.frames.set_owner(mfn, 0, DOMID_XEN, IN_FLIGHT)
    host.in_flight_pages -= 1
    host.xen_pages += 1


def free_xen_page(host: Host, mfn: Mfn) -> None:
    """One of Xen's own pages returns to the heap."""
    host.frames.set_owner(mfn, 0, FREE, DOMID_XEN)
    host.xen_pages -= 1
    host.heap.give(mfn, 0)
    if host.tmem is not None:
        host.tmem.sample_midsize(host.heap.total_avail)
    if host.offlining:
        retire_freed(host, mfn, 0)


def nodes_to_try(host: Host, domain: Domain | None, placement: Placement) -> tuple[NodeId, ...]:
    """Nodes to try, in order (A18, A20, A21)."""
    count = host.heap.node_count
    if count == 1 and placement.node is None:
        return (0,)
    online = tuple(range(count))
    wanted = placement.node
    if wanted is not None and placement.exact_node:
        return (wanted,) if wanted < count else ()
    affinity = domain.node_affinity if domain is not None else online
    if wanted is not None and wanted < count:
        start = wanted
    else:
        after = domain.last_alloc_node if domain is not None else -1
        start = next((node for node in affinity if node > after), affinity[0] if affinity else 0)
    round_robin = tuple(node for node in affinity if node >= start) + tuple(
        node for node in affinity if node < start
    )
    first = (start, *tuple(node for node in round_robin if node != start))
    return first + tuple(node for node in online if node not in first)


def _check_low_memory(host: Host) -> None:
    if host.low_memory.check(unclaimed_pages(host)):
        host.emit(Emission(None, VirqEvent(VIRQ_ENOMEM, DOMID_XEN, host.commit)))


def complete_destroy_if_empty(host: Host, domain: Domain) -> None:
    """A dead domain leaves when its last page has gone (A13, complete_domain_destroy)."""
    if domain.is_dying != Dying.DEAD or domain.tot_pages or host.find(domain.domid) is not domain:
        return
    for mfn in domain.structure_frames:
        free_xen_page(host, mfn)
    host.remove_domain(domain)
    host.emit(Emission(None, VirqEvent(VIRQ_DOM_EXC, domain.domid, host.commit)))
