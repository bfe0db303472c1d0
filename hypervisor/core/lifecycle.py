"""A domain's birth, and its pauses: createdomain, pausedomain, unpausedomain (A15, A31)."""

from typing import Final

from hypervisor.core.allocation import (
    free_xen_page,
    keep_for_xen,
    take_extent,
)
from hypervisor.core.domain import Domain
from hypervisor.core.heap.p2m import PhysMap
from hypervisor.core.host import Host
from hypervisor.core.refusals import note_no_extent
from hypervisor.core.sources import Source
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
from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    Created,
    CreateDomain,
    PauseDomain,
    UnpauseDomain,
)
from hypervisor.public.errors import Errno
from hypervisor.public.units import (
    DOMID_DOM0,
    DOMID_FIRST_RESERVED,
    DomId,
    Pages,
)

HAP_POOL_AT_CREATION: Final[Pages] = 256
"""hap_enable gives every HAP domain 1 MiB of paging pool."""


def create_domain(host: Host, caller: Caller, request: CreateDomain) -> Steps:
    """A new paused domain; its structures are anonymous pages, held back by claims (A31)."""
    create = step("create", reads=(HEAP, CLAIMS, DOMAINS), writes=(HEAP, DOMAINS), lock=DOMCTL_LOCK)
    yield create if caller.privileged else step("deny")
    if not caller.privileged:
        return Result(-Errno.EPERM)
    domid = _choose_domid(host, request.domid)
    if domid is None:
        return Result(-Errno.EEXIST)
    domain = _blank_domain(host, domid, request)
    if not _allocate_structures(host, domain):
        _free_structures(host, domain)
        return Result(-Errno.ENOMEM)
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


def _allocate_structures(host: Host, domain: Domain) -> bool:
    """struct domain and the first HAP pool, from unclaimed memory; False: too little, some taken."""
    pool = HAP_POOL_AT_CREATION if domain.hap else 0
    structure = host.release.hvm_structure_pages if domain.hvm else host.release.pv_structure_pages
    for number in range(structure + pool):
        mfn = take_extent(host, None, 0)
        if mfn is None:
            note_no_extent(host, domain.domid, Source.STRUCTURES)
            return False
        keep_for_xen(host, mfn)
        (domain.structure_frames if number < structure else domain.paging_pool).append(mfn)
    return True


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
    if domain.runs:
        host.unpaused.append(domain.domid)
    return Result(0)
