"""XEN_DOMCTL_claim_memory: all claims of a domain replaced at once (section 1i; domain_install_claim_set)."""

from hypervisor.core.claims import drop_claim, set_outstanding_pages, unclaimed_pages
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    DOMCTL_LOCK,
    HEAP,
    Caller,
    Result,
    Steps,
    domain_resource,
    step,
)
from hypervisor.public.errors import Errno
from hypervisor.public.numa import (
    CLAIM_TARGET_GLOBAL,
    CLAIM_TARGET_LEGACY,
    MAX_NUMNODES,
    ClaimMemory,
    MemoryClaim,
)
from hypervisor.public.units import UINT_MAX, ULONG_MASK, NodeId, Pages


def claim_memory(host: Host, caller: Caller, request: ClaimMemory) -> Steps:
    """One step under domctl lock, page_alloc_lock and heap_lock (N1-N3)."""
    this = domain_resource(request.domid)
    yield step(
        "claim",
        reads=(DOMAINS, HEAP, CLAIMS, this),
        writes=(CLAIMS, this),
        lock=DOMCTL_LOCK if caller.privileged else None,
    )
    domain = host.find(request.domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if not host.release.claim_sets:
        return Result(-Errno.ENOSYS)
    return Result(_claim(host, domain, request))


def _claim(host: Host, domain: Domain, request: ClaimMemory) -> int:
    """The tests of the domctl itself, then the set (N2)."""
    claims = request.claims
    if host.llc_coloring:
        return -Errno.EOPNOTSUPP
    if not claims or request.pad:
        return -Errno.EINVAL
    if len(claims) > MAX_NUMNODES + 1:
        return -Errno.E2BIG
    if domain.is_dying != Dying.ALIVE:
        return -Errno.ESRCH
    if len(claims) == 1 and claims[0].target == CLAIM_TARGET_LEGACY:
        return set_outstanding_pages(host, domain, claims[0].pages)  # nobody looks at the pad (claims-v7)
    return _install_claim_set(host, domain, claims)


def _install_claim_set(host: Host, domain: Domain, claims: tuple[MemoryClaim, ...]) -> int:
    """Replace the domain's claims. What it holds already does not count (N3), max_pages does."""
    error, host_wide, by_node = _sort_out(host, domain, claims)
    if error:
        return error
    wanted = host_wide + sum(by_node.values())
    if wanted + domain.tot_pages > domain.max_pages:
        return -Errno.EINVAL
    # Unsigned as in Xen: once offlining without recall leaves more claimed than there is, anything passes
    if wanted > (unclaimed_pages(host) + domain.outstanding_pages) & ULONG_MASK:
        return -Errno.ENOMEM
    drop_claim(host, domain)
    domain.outstanding_pages = wanted
    host.outstanding_claims += wanted
    for node, pages in by_node.items():
        domain.claims[node] = pages
        domain.node_claims += pages
        host.node_outstanding_claims[node] = host.node_outstanding_claims.get(node, 0) + pages
    return 0


def _sort_out(
    host: Host, domain: Domain, claims: tuple[MemoryClaim, ...]
) -> tuple[int, Pages, dict[NodeId, Pages]]:
    """The entries in turn, each tested as Xen does: (errno or 0, host-wide pages, pages by node)."""
    host_wide: Pages | None = None
    by_node: dict[NodeId, Pages] = {}
    named: list[NodeId] = []
    for claim in claims:
        if claim.pad or (claim.target == CLAIM_TARGET_GLOBAL and host_wide is not None):
            return -Errno.EINVAL, 0, {}
        if claim.target == CLAIM_TARGET_GLOBAL:
            host_wide = claim.pages
            continue
        error = _node_error(host, domain, claim, named, sum(by_node.values()))
        if error:
            return error, 0, {}
        named.append(claim.target)
        if claim.pages:
            by_node[claim.target] = claim.pages
    return 0, host_wide or 0, by_node


def _node_error(host: Host, domain: Domain, claim: MemoryClaim, named: list[NodeId], before: Pages) -> int:
    """One entry that names a node; `named` are the nodes of the entries before it, `before` their pages."""
    node = claim.target
    if node >= MAX_NUMNODES or node >= host.heap.node_count:
        return -Errno.ENOENT  # LEGACY among others as well
    if node in named or claim.pages > UINT_MAX - before:
        return -Errno.EINVAL
    unclaimed = host.heap.node_avail(node) - host.node_outstanding_claims.get(node, 0)
    available = (unclaimed + domain.claims.get(node, 0)) & ULONG_MASK
    return -Errno.ENOMEM if claim.pages > available else 0
