"""Claims: memory promised to a domain that it does not hold yet (section 1).

A claim is a number. It names no pages; it only makes every allocation that may not lean on it see
less free memory (C17).
"""

from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.reservation_ring import note_change
from hypervisor.public.errors import Errno
from hypervisor.public.units import ULONG_MASK, NodeId, Pages


def available_pages(host: Host) -> Pages:
    """What claims are held against: free pages, and those that tmem could give back (C14, C17, T19)."""
    tmem = host.tmem
    return host.heap.total_avail if tmem is None else host.heap.total_avail + tmem.freeable


def unclaimed_pages(host: Host) -> int:
    """Available pages less claims. Negative inside the window of C27 and under a leak."""
    return available_pages(host) - host.outstanding_claims


def allocation_refused(host: Host, domain: Domain | None, request: Pages, no_refcount: bool) -> bool:
    """The first test of alloc_heap_pages: would `request` pages eat into somebody's claim? (C17)

    A domain whose own claim covers the whole request skips the test; a claim smaller than the
    request helps nothing, even if claim and unclaimed memory together would do (C17 b).
    """
    if host.outstanding_claims + request <= available_pages(host):
        return False
    if host.release.claim_covers_shortfall:
        return domain is None or no_refcount or request > unclaimed_pages(host) + _applicable(host, domain)
    if domain is None or domain.outstanding_pages < request:
        return True
    return no_refcount and host.release.no_refcount_barred_from_claim


def _applicable(host: Host, domain: Domain) -> Pages:
    """The claims with which a domain may come past the host's test: host-wide and on nodes (N5)."""
    if host.release.host_test_counts_node_claims:
        return domain.outstanding_pages
    return domain.outstanding_pages - domain.node_claims  # the design bug of debate A2: the owner starves


def node_refused(host: Host, domain: Domain | None, request: Pages, no_refcount: bool, node: NodeId) -> bool:
    """The test of get_free_buddy on one node: only the claim on this very node helps there (N5)."""
    unclaimed = host.heap.node_avail(node) - host.node_outstanding_claims.get(node, 0)
    own = 0 if domain is None or no_refcount else domain.claims.get(node, 0)
    return request > unclaimed + own


def consume_claim(host: Host, domain: Domain, pages: Pages, node: NodeId | None = None) -> None:
    """Draw a claim down by memory now held; it stops at 0, the excess is ordinary (C21, C23, C24).

    `node` is where the memory came from: its claim goes first, then the host-wide one, then those of the
    other nodes in their order (N6).
    """
    drawn = min(domain.outstanding_pages, pages)
    if domain.node_claims:
        left = drawn - (_retire(host, domain, node, drawn) if node is not None else 0)
        left -= min(left, domain.outstanding_pages - drawn + left - domain.node_claims)
        for other in sorted(domain.claims):
            left -= _retire(host, domain, other, left)
        assert not left, "I11: claims on nodes exceed their sum"
    domain.outstanding_pages -= drawn
    host.outstanding_claims -= drawn
    assert host.outstanding_claims >= 0, "C29: negative outstanding_claims"


def adjust_tot_pages(host: Host, domain: Domain, pages: int) -> None:
    """domain_adjust_tot_pages: tot_pages moves by `pages`, and the claim with it where it does.

    Up to 4.21.0 an increase consumes here (C21); up to 4.20 a decrease raises a claim that still
    stands, so that tot_pages + outstanding stays constant (C21, gone with C22).
    """
    domain.tot_pages += pages
    assert domain.tot_pages >= 0, "negative tot_pages"
    if host.rings:
        note_change(host, domain)
    if not domain.outstanding_pages or host.release.claim_consumed_at_alloc:
        return
    if pages > 0:
        consume_claim(host, domain, pages)
    elif host.release.free_regrows_claim:
        domain.outstanding_pages -= pages
        host.outstanding_claims -= pages


def _retire(host: Host, domain: Domain, node: NodeId, pages: Pages) -> Pages:
    """claims_retire_node without the host's sums: take `pages` at most off a claim on one node; how many."""
    held = domain.claims.get(node, 0)
    retired = min(held, pages)
    if retired == held:
        domain.claims.pop(node, None)
    else:
        domain.claims[node] = held - retired
    domain.node_claims -= retired
    left = host.node_outstanding_claims.get(node, 0) - retired
    assert left >= 0, "C29, N4: negative node_outstanding_claims"
    if left:
        host.node_outstanding_claims[node] = left
    else:
        host.node_outstanding_claims.pop(node, None)
    return retired


def recall_claims(host: Host, node: NodeId) -> None:
    """After pages of `node` went out of service: claims come down to what is left, by ascending domid (N7).

    First the claims on the node until they fit it, then host-wide ones until all fit the host; claims on
    nodes that fit their nodes fit the host as well.
    """
    excess = host.node_outstanding_claims.get(node, 0) - host.heap.node_avail(node)
    for domid in host.domids if excess > 0 else ():
        domain = host.domains[domid]
        recalled = _retire(host, domain, node, max(excess, 0))
        domain.outstanding_pages -= recalled
        host.outstanding_claims -= recalled
        excess -= recalled
    excess = -unclaimed_pages(host)
    for domid in host.domids if excess > 0 else ():
        domain = host.domains[domid]
        recalled = min(domain.outstanding_pages - domain.node_claims, max(excess, 0))
        domain.outstanding_pages -= recalled
        host.outstanding_claims -= recalled
        excess -= recalled


def drop_claim(host: Host, domain: Domain) -> None:
    """domain_set_outstanding_pages(d, 0): whatever is left of the claim goes, on nodes as well (C11)."""
    for node in sorted(domain.claims):
        _retire(host, domain, node, domain.claims[node])
    host.outstanding_claims -= domain.outstanding_pages
    domain.outstanding_pages = 0


def set_outstanding_pages(host: Host, domain: Domain, pages: Pages) -> int:
    """domain_set_outstanding_pages: 0, -EINVAL or -ENOMEM, tested in Xen's order (C9-C16).

    `pages` is the wanted total tot_pages, 0 cancels.
    """
    if host.release.claim_on_dying_refused and domain.is_dying != Dying.ALIVE:
        return -Errno.EINVAL
    if pages == 0:
        drop_claim(host, domain)
        return 0
    if domain.outstanding_pages:
        # C12: one active claim, no resize; one used up counts as none. Claims on nodes are in the sum (N4)
        return -Errno.EINVAL
    if pages <= domain.tot_pages or pages > domain.max_pages:
        return -Errno.EINVAL
    claim = pages - domain.tot_pages
    # C14: computed in unsigned long, so inside the window of C27 it wraps and any size passes.
    if claim > unclaimed_pages(host) & ULONG_MASK:
        return -Errno.ENOMEM
    domain.outstanding_pages = claim
    host.outstanding_claims += claim
    return 0
