"""XENMEM_sharing_op and its domctl: nominate, share, add_physmap and what goes with them (S1-S8)."""

from typing import assert_never

from hypervisor.core.allocation import give_back
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.pod.touch import populate_on_demand
from hypervisor.core.reservation import GFN_LIMIT
from hypervisor.core.sharing.frames import (
    SHARING,
    add_sharer,
    audit,
    make_sharable,
    move_sharers,
    shared_frame,
)
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    DOMCTL_LOCK,
    HEAP,
    REFERENCES,
    Caller,
    Part,
    Result,
    Step,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.errors import Errno
from hypervisor.public.sharing import (
    C_HANDLE_INVALID,
    S_HANDLE_INVALID,
    GetSharingFreedPages,
    GetSharingSharedPages,
    MemSharingControl,
    SharedFrameInfo,
    SharingAddPhysmap,
    SharingAudit,
    SharingDebugGfn,
    SharingDebugMfn,
    SharingHandle,
    SharingNominateGfn,
    SharingOther,
    SharingRangeShare,
    SharingShare,
)
from hypervisor.public.units import DomId, Gfn, Mfn

MemOp = (
    SharingNominateGfn
    | SharingShare
    | SharingDebugGfn
    | SharingDebugMfn
    | SharingAddPhysmap
    | SharingRangeShare
    | SharingOther
)


def mem_sharing_control(host: Host, caller: Caller, request: MemSharingControl) -> Steps:
    """XEN_DOMCTL_mem_sharing_op: the switch of one domain (S1). No domain here has an IOMMU, so no EXDEV."""
    this = domain_resource(request.domid)
    lock = DOMCTL_LOCK if caller.privileged else None
    yield step("mem_sharing control", reads=(DOMAINS,), writes=(this,), lock=lock)
    domain = host.find(request.domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if not domain.hap:
        return Result(-Errno.ENODEV)
    domain.mem_sharing_enabled = request.enable
    return Result(0)


def sharing_figures(
    host: Host, request: GetSharingFreedPages | GetSharingSharedPages | SharingAudit
) -> Steps:
    """The two counters anyone may read, and the audit (S4)."""
    yield step("sharing figures", reads=(SHARING,))
    match request:
        case GetSharingFreedPages():
            return Result(host.sharing.nr_saved)
        case GetSharingSharedPages():
            return Result(host.sharing.nr_shared)
        case SharingAudit():
            return Result(audit(host))
        case _:
            assert_never(request)


def sharing_op(host: Host, caller: Caller, request: MemOp) -> Steps:
    """mem_sharing_memop: who may, on which domain, then the operation (S1)."""
    domids = _domids(request)
    yield _sharing_step("sharing", *domids)
    domain, refusal = _sharing_domain(host, caller, domids[0])
    if domain is None:
        return Result(refusal)
    match request:
        case SharingNominateGfn():
            return (yield from _nominate_gfn(host, domain, request.gfn))
        case SharingDebugGfn():
            return _debug(host, shared_frame(host, domain, request.gfn))
        case SharingDebugMfn():
            return _debug(host, request.mfn if request.mfn in host.sharing.frames else None)
        case SharingOther():
            return Result(-Errno.ENOSYS)
        case SharingShare() | SharingAddPhysmap() | SharingRangeShare():
            if isinstance(request, SharingRangeShare) and not host.release.sharing_range_share:
                return Result(-Errno.ENOSYS)
            client, refusal = _live_remote(host, caller, domids[1])
            if client is None:
                return Result(refusal)
            if not client.mem_sharing_enabled:
                return Result(-Errno.EINVAL)
            return (yield from _with_client(host, domain, client, request))
        case _:
            assert_never(request)


def _with_client(
    host: Host, domain: Domain, client: Domain, request: SharingShare | SharingAddPhysmap | SharingRangeShare
) -> Part[Result]:
    match request:
        case SharingShare():
            return Result((yield from _share(host, domain, client, request)))
        case SharingAddPhysmap():
            return Result(_add_physmap(host, domain, client, request))
        case SharingRangeShare():
            return Result((yield from _range_share(host, domain, client, request)))
        case _:
            assert_never(request)


def _domids(request: MemOp) -> tuple[DomId, ...]:
    match request:
        case SharingShare() | SharingAddPhysmap() | SharingRangeShare():
            return (request.source_domid, request.client_domid)
        case _:
            return (request.domid,)


def _sharing_step(name: str, *domids: DomId) -> Step:
    """One step under the p2m locks of these domains and the page locks of what they share."""
    these = tuple(part(domid) for domid in domids for part in (domain_resource, p2m_resource))
    return step(name, (DOMAINS, REFERENCES, SHARING, *these), (SHARING, CLAIMS, *these))


def _live_remote(host: Host, caller: Caller, domid: DomId) -> tuple[Domain | None, int]:
    """rcu_lock_live_remote_domain_by_id, and XSM: the domain, or None and why not."""
    domain = host.find(domid)
    if domain is None:
        return None, -Errno.ESRCH
    if not caller.privileged or domain.domid == caller.domid:
        return None, -Errno.EPERM
    if domain.is_dying != Dying.ALIVE:
        return None, -Errno.EINVAL
    return domain, 0


def _sharing_domain(host: Host, caller: Caller, domid: DomId) -> tuple[Domain | None, int]:
    """As _live_remote, with HAP and sharing enabled; from 4.13 on the first operation enables it (S1)."""
    domain, refusal = _live_remote(host, caller, domid)
    if domain is None:
        return None, refusal
    if not domain.hap:
        return None, -Errno.ENODEV
    if not domain.mem_sharing_enabled:
        if not host.release.sharing_enabled_by_use:
            return None, -Errno.ENODEV
        domain.mem_sharing_enabled = True
    return domain, 0


def _debug(host: Host, mfn: Mfn | None) -> Result:
    if mfn is None:
        return Result(-Errno.EINVAL)
    frame = host.sharing.frames[mfn]
    return Result(len(frame.gfns), SharedFrameInfo(mfn, frame.handle))


def _nominate_gfn(host: Host, domain: Domain, gfn: Gfn) -> Part[Result]:
    if host.release.nominate_refuses_dying:
        # The p2m is looked at first, the owner changed under page_alloc_lock: a kill may come between (S5)
        populate_on_demand(host, domain, gfn)
        yield _sharing_step("nominate", domain.domid)
        if domain.is_dying != Dying.ALIVE:
            return Result(-Errno.EBUSY)
    ret, handle = nominate(host, domain, gfn)
    return Result(ret, SharingHandle(handle) if ret == 0 else None)


def nominate(host: Host, domain: Domain, gfn: Gfn) -> tuple[int, int]:
    """mem_sharing_nominate_page: (errno, handle). EINVAL: no RAM of the domain; E2BIG: mapped elsewhere (S5).

    EEXIST, for a page in use as another type, and ENOMEM, for the record, cannot come about here.
    """
    if domain.p2m is None:
        return -Errno.EINVAL, 0
    shared = shared_frame(host, domain, gfn)
    if shared is not None:
        return 0, host.sharing.frames[shared].handle
    populate_on_demand(host, domain, gfn)  # get_gfn: P2M_ALLOC
    mfn = domain.p2m.lookup(gfn)
    if mfn is None or host.frames.owner(mfn) != domain.domid or mfn in host.dangling:
        return -Errno.EINVAL, 0
    if host.frames.references(mfn):
        return -Errno.E2BIG, 0
    return 0, make_sharable(host, domain, gfn, mfn)


def _share(host: Host, domain: Domain, client: Domain, request: SharingShare) -> Part[int]:
    source = _entry(domain, request.source_gfn)
    sharer = _entry(client, request.client_gfn)
    if source == sharer:
        return 0  # "great success": two holes are the same as well
    refusal = _bad_frames(host, source, sharer)
    if refusal:
        return refusal
    assert source is not None and sharer is not None
    if host.sharing.frames[source].handle != request.source_handle:
        return S_HANDLE_INVALID
    if host.sharing.frames[sharer].handle != request.client_handle:
        return C_HANDLE_INVALID
    yield from _merge(host, source, sharer)
    return 0


def _merge(host: Host, source: Mfn, client: Mfn) -> Part[None]:
    move_sharers(host, source, client)
    yield step("merge", writes=(HEAP,))
    give_back(host, client, 0)


def _entry(domain: Domain, gfn: Gfn) -> Mfn | None:
    return None if domain.p2m is None else domain.p2m.lookup(gfn)


def _bad_frames(host: Host, source: Mfn | None, client: Mfn | None) -> int:
    """The frames are grabbed in ascending order, INVALID_MFN last: the first that is not shared decides."""
    shared = host.sharing.frames
    source_bad, client_bad = source not in shared, client not in shared
    source_first = client is None or (source is not None and source < client)
    if source_bad and (source_first or not client_bad):
        return S_HANDLE_INVALID
    return C_HANDLE_INVALID if client_bad else 0


def _add_physmap(host: Host, domain: Domain, client: Domain, request: SharingAddPhysmap) -> int:
    source = shared_frame(host, domain, request.source_gfn)
    if source is None or host.sharing.frames[source].handle != request.source_handle:
        return S_HANDLE_INVALID
    gfn = request.client_gfn
    if client.p2m is None or client.p2m.lookup(gfn) is not None or client.pod.is_entry(gfn):
        return C_HANDLE_INVALID
    if gfn >= GFN_LIMIT:
        return -Errno.EINVAL  # p2m_set_entry fails beyond what EPT can address
    add_sharer(host, client, gfn, source)
    return 0


def _range_share(host: Host, domain: Domain, client: Domain, request: SharingRangeShare) -> Part[int]:
    """range_share: gfn by gfn, preempted at every boundary; only the last gfn's failure could be told."""
    first, last = request.first_gfn, request.last_gfn
    if not (domain.pause_count and client.pause_count):
        return -Errno.EINVAL
    highest = [one.p2m.highest_gfn for one in (domain, client) if one.p2m is not None]
    if len(highest) < 2 or max(first, last) > min(highest):
        return -Errno.EINVAL
    for gfn in range(first, last + 1):
        if gfn > first:
            yield _sharing_step("share range", domain.domid, client.domid)
            if domain.is_dying or client.is_dying:
                return -Errno.EINVAL  # a continuation looks the domains up anew
        if nominate(host, domain, gfn)[0] or nominate(host, client, gfn)[0]:
            continue
        source, sharer = shared_frame(host, domain, gfn), shared_frame(host, client, gfn)
        if source is not None and sharer is not None and source != sharer:
            yield from _merge(host, source, sharer)
    return 0
