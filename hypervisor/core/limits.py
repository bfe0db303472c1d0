"""Limits and claims of a domain: max_mem, claim_pages, the paging pool (A15, C1-C16, A31)."""

from functools import lru_cache
from typing import Final

from hypervisor.core.allocation import free_xen_page, keep_for_xen, take_extent
from hypervisor.core.claims import set_outstanding_pages
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.refusals import note_no_extent
from hypervisor.core.sources import Source
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    DOMCTL_LOCK,
    HEAP,
    STEPS_KEPT,
    Caller,
    Result,
    Step,
    Steps,
    domain_resource,
    step,
)
from hypervisor.public.domctl import MaxMem, SetPagingMempoolSize
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import PAGE_SHIFT, PAGE_SIZE, UINT_MAX, DomId, Kib, Pages, kib_to_pages

POOL_SLICE: Final[Pages] = 256
"""Pages of paging pool between two preemption checks."""


def claim_pages(host: Host, caller: Caller, request: ClaimPages) -> Steps:
    """XENMEM_claim_pages: one step under page_alloc_lock and heap_lock (P5)."""
    yield _claim(request.domid)
    if not host.release.claim_pages:
        return Result(-Errno.ENOSYS)
    if host.llc_coloring and host.release.claim_coloring_refused:
        return Result(-Errno.EOPNOTSUPP)
    if request.start_extent and host.release.claim_start_extent_checked:
        return Result(-Errno.EINVAL)
    if request.extent_start or request.extent_order or request.mem_flags:
        return Result(-Errno.EINVAL)
    domain = host.find(request.domid)  # C7: DOMID_SELF and unknown ids alike
    if domain is None:
        return Result(-Errno.EINVAL)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    return Result(set_outstanding_pages(host, domain, request.nr_extents))


@lru_cache(maxsize=STEPS_KEPT)
def _claim(domid: DomId) -> Step:
    this = domain_resource(domid)
    return step("claim", reads=(DOMAINS, HEAP, CLAIMS, this), writes=(CLAIMS, this))


def max_mem(host: Host, caller: Caller, request: MaxMem) -> Steps:
    """XEN_DOMCTL_max_mem: any value is accepted, also below tot_pages (A15)."""
    this = domain_resource(request.domid)
    yield step("max_mem", reads=(DOMAINS,), writes=(this,), lock=DOMCTL_LOCK if caller.privileged else None)
    domain = host.find(request.domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    domain.max_pages = stored_max_pages(host, request.max_memkb)
    return Result(0)


def stored_max_pages(host: Host, max_memkb: Kib) -> Pages:
    """What max_pages becomes: an unsigned int, which saturates or wraps (A15)."""
    pages = kib_to_pages(max_memkb)
    return min(pages, UINT_MAX) if host.release.max_pages_saturates else pages & UINT_MAX


def set_paging_mempool_size(host: Host, caller: Caller, request: SetPagingMempoolSize) -> Steps:
    """Grow or shrink the HAP pool in slices; a failure keeps what it got (hap_set_allocation)."""
    this = domain_resource(request.domid)
    resize = step(
        "resize",
        reads=(DOMAINS, HEAP, CLAIMS, this),
        writes=(HEAP, this),
        lock=DOMCTL_LOCK if caller.privileged else None,
    )
    yield resize
    domain = host.find(request.domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if not domain.hap:
        return Result(-Errno.EOPNOTSUPP)
    wanted = request.size >> PAGE_SHIFT
    if request.size % PAGE_SIZE or wanted > UINT_MAX:
        return Result(-Errno.EINVAL)
    while True:
        ret = _resize_slice(host, domain, wanted)
        if ret < 0 or len(domain.paging_pool) == wanted:
            return Result(ret)
        yield resize


def _resize_slice(host: Host, domain: Domain, wanted: Pages) -> int:
    """Up to POOL_SLICE pages nearer to `wanted`; 0 or a negative errno."""
    pool = domain.paging_pool
    for _ in range(POOL_SLICE):
        if len(pool) > wanted:
            free_xen_page(host, pool.pop())
        elif len(pool) < wanted:
            if domain.is_dying:
                return -Errno.EINVAL  # killed between two slices: nothing may be added now
            # A31: no claim helps. 4.3 names no domain (C17 has no third arm there), later MEMF_no_owner
            owner = domain if host.release.no_refcount_barred_from_claim else None
            mfn = take_extent(host, owner, 0, no_refcount=True)
            if mfn is None:
                note_no_extent(host, domain.domid, Source.STRUCTURES, domain=owner, no_refcount=True)
                return -Errno.ENOMEM
            keep_for_xen(host, mfn)
            pool.append(mfn)
    return 0
