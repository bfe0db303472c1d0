"""Birth and death of domains: createdomain, pause, unpause, destroydomain (A15, A31, C30, C31, P10)."""

from collections.abc import Iterator
from typing import Final

from hypervisor.core.allocation import (
    IN_FLIGHT,
    complete_destroy_if_empty,
    free_xen_page,
    give_back,
    keep_for_xen,
    take_extent,
)
from hypervisor.core.claims import adjust_tot_pages, drop_claim
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.heap.p2m import PhysMap
from hypervisor.core.host import Host
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    DOMCTL_LOCK,
    HEAP,
    REFERENCES,
    Caller,
    Emission,
    Result,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    Created,
    CreateDomain,
    DestroyDomain,
    PauseDomain,
    UnpauseDomain,
)
from hypervisor.public.errors import Errno
from hypervisor.public.requests import VirqEvent
from hypervisor.public.units import (
    DOMID_DOM0,
    DOMID_FIRST_RESERVED,
    MAX_ORDER,
    VIRQ_DOM_EXC,
    DomId,
    Mfn,
    Order,
    Pages,
)

HAP_POOL_AT_CREATION: Final[Pages] = 256
"""hap_enable gives every HAP domain 1 MiB of paging pool."""
SLICE: Final[Pages] = 512
"""Pages given back between two preemption checks of a destruction (A31)."""


def create_domain(host: Host, caller: Caller, request: CreateDomain) -> Steps:
    """A new paused domain; its structures are anonymous pages, held back by claims (A31)."""
    allocate = step("allocate", reads=(HEAP, CLAIMS, DOMAINS), writes=(HEAP, DOMAINS), lock=DOMCTL_LOCK)
    yield allocate if caller.privileged else step("deny")
    if not caller.privileged:
        return Result(-Errno.EPERM)
    domid = _choose_domid(host, request.domid)
    if domid is None:
        return Result(-Errno.EEXIST)
    domain = _blank_domain(host, domid, request)
    pool = HAP_POOL_AT_CREATION if domain.hap else 0
    structure = host.release.hvm_structure_pages if domain.hvm else host.release.pv_structure_pages
    for number in range(structure + pool):
        if number:
            yield allocate
        mfn = take_extent(host, None, 0)
        if mfn is None:
            yield step("undo", writes=(HEAP,), lock=DOMCTL_LOCK)
            _free_structures(host, domain)
            return Result(-Errno.ENOMEM)
        keep_for_xen(host, mfn)
        (domain.structure_frames if number < structure else domain.paging_pool).append(mfn)
    host.add_domain(domain)
    return Result(0, Created(domid, domain.incarnation))


def _choose_domid(host: Host, wanted: DomId) -> DomId | None:
    """None: taken, or no id left. 4.22 takes 0 at its word; earlier 0 asks for any free id."""
    if wanted >= DOMID_FIRST_RESERVED or (
        wanted == DOMID_DOM0 and not host.release.create_domid_zero_is_dom0
    ):
        return host.free_domid()
    return None if wanted in host.domains else wanted


def _blank_domain(host: Host, domid: DomId, request: CreateDomain) -> Domain:
    hvm = bool(request.flags & CDF_HVM)
    domain = Domain(
        domid=domid,
        incarnation=host.next_incarnation,
        hvm=hvm,
        hap=hvm and bool(request.flags & CDF_HAP),
        max_vcpus=request.max_vcpus,
        pause_count=1,  # paused until the toolstack has built it
        node_affinity=tuple(range(host.heap.node_count)),
        p2m=PhysMap() if hvm else None,
    )
    host.next_incarnation += 1
    return domain


def _free_structures(host: Host, domain: Domain) -> None:
    for frames in (domain.structure_frames, domain.paging_pool):
        for mfn in frames:
            free_xen_page(host, mfn)


def pause_domain(host: Host, caller: Caller, request: PauseDomain) -> Steps:
    """One more reason not to run. EINVAL on oneself."""
    this = domain_resource(request.domid)
    yield step("pause", reads=(DOMAINS,), writes=(this,), lock=DOMCTL_LOCK if caller.privileged else None)
    domain = host.find(request.domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if domain.domid == caller.domid:
        return Result(-Errno.EINVAL)
    domain.pause_count += 1
    return Result(0)


def unpause_domain(host: Host, caller: Caller, request: UnpauseDomain) -> Steps:
    """One reason less; at none the domain runs and its parked callers move. EINVAL when it ran."""
    this = domain_resource(request.domid)
    yield step("unpause", reads=(DOMAINS,), writes=(this,), lock=DOMCTL_LOCK if caller.privileged else None)
    domain = host.find(request.domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if domain.pause_count == 0:
        return Result(-Errno.EINVAL)
    domain.pause_count -= 1
    if domain.pause_count == 0:
        host.unpaused.append(domain.domid)
    return Result(0)


def destroy_domain(host: Host, caller: Caller, request: DestroyDomain) -> Steps:
    """domain_kill: the claim goes at once, the pages in slices others can see and take (C30, P10)."""
    this = (domain_resource(request.domid), p2m_resource(request.domid), CLAIMS)
    lock = DOMCTL_LOCK if caller.privileged else None
    yield step("kill", reads=(DOMAINS,), writes=(*this, DOMAINS), lock=lock)
    domain = host.find(request.domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if domain.domid == caller.domid:
        return Result(-Errno.EINVAL)
    if domain.is_dying == Dying.DEAD:
        return Result(0)
    if domain.is_dying == Dying.ALIVE:
        domain.is_dying = Dying.DYING
        domain.pause_count += 1
        yield step("unclaim", writes=this, lock=lock)
        drop_claim(host, domain)
    relinquish = step(
        "relinquish", reads=(REFERENCES,), writes=(*this, REFERENCES, HEAP), lock=lock, restart=True
    )
    merge = step("merge", writes=(HEAP, DOMAINS, *this), lock=lock)
    cursor = 0
    while True:
        yield relinquish
        # A continuation is a new hypercall with a new look-up: another caller may have finished the kill.
        if host.find(domain.domid) is not domain:
            return Result(-Errno.ESRCH)
        if _free_paging_pool(host, domain):
            continue
        run = _unassign_slice(host, domain, cursor)
        if run is None:
            break
        yield merge
        for mfn, order in _aligned_blocks(*run[1]):
            give_back(host, mfn, order)
        cursor = run[0]
        if host.release.destroy_returns_eagain:
            return Result(-Errno.EAGAIN)
    _finish(host, domain)
    return Result(0)


def _finish(host: Host, domain: Domain) -> None:
    if domain.is_dying != Dying.DYING:
        return  # another caller's destroydomain came to the end first
    domain.is_dying = Dying.DEAD
    domain.p2m = None
    host.emit(Emission(None, VirqEvent(VIRQ_DOM_EXC, domain.domid, host.commit)))
    complete_destroy_if_empty(host, domain)


def _free_paging_pool(host: Host, domain: Domain) -> bool:
    """One slice of the paging pool; False when there was none."""
    pool = domain.paging_pool
    for _ in range(min(SLICE, len(pool))):
        free_xen_page(host, pool.pop())
        if not pool:
            return True
    return bool(pool)


def _unassign_slice(host: Host, domain: Domain, cursor: Mfn) -> tuple[Mfn, tuple[Mfn, Pages]] | None:
    """Up to SLICE frames leave the domain: (next cursor, run now in flight), None when none are left.

    Frames under a foreign mapping stay and are marked: they keep the dead domain (A11, z01).
    """
    while True:
        run = host.frames.next_run(domain.domid, cursor, SLICE)
        if run is None:
            return None
        mfn, count = run
        free = _unreferenced_prefix(host, mfn, count)
        if free:
            break
        host.dangling[mfn] = domain.domid
        cursor = mfn + 1
    adjust_tot_pages(host, domain, -free)
    host.in_flight_pages += free
    for first, order in _aligned_blocks(mfn, free):
        host.frames.set_owner(first, order, IN_FLIGHT, domain.domid)
    return mfn + free, (mfn, free)


def _unreferenced_prefix(host: Host, mfn: Mfn, count: Pages) -> Pages:
    if not host.frames.any_references:
        return count
    for index in range(count):
        if host.frames.references(mfn + index):
            return index
    return count


def _aligned_blocks(mfn: Mfn, count: Pages) -> Iterator[tuple[Mfn, Order]]:
    """A run of frames as the largest aligned blocks."""
    while count:
        alignment = (mfn & -mfn).bit_length() - 1 if mfn else MAX_ORDER
        order = min(alignment, count.bit_length() - 1, MAX_ORDER)
        yield mfn, order
        mfn += 1 << order
        count -= 1 << order
