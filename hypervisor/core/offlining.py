"""XEN_SYSCTL_page_offline_op: offline, online and query frames (page_alloc.c; C28, N7, W9)."""

from hypervisor.core.allocation import IN_FLIGHT
from hypervisor.core.heap.frames import FREE
from hypervisor.core.host import Host
from hypervisor.core.retire import OFFLINED, retire_frame
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    EVERYBODY,
    HEAP,
    SYSCTL_LOCK,
    Caller,
    Result,
    Step,
    Steps,
    domain_resource,
)
from hypervisor.core.steps import step as declare
from hypervisor.core.tmem.state import TMEM_OWNER
from hypervisor.public.errors import Errno
from hypervisor.public.offlining import (
    MOST_FRAMES,
    PAGE_OFFLINE,
    PAGE_ONLINE,
    PG_OFFLINE_ANONYMOUS,
    PG_OFFLINE_FAILED,
    PG_OFFLINE_INVALID,
    PG_OFFLINE_OFFLINED,
    PG_OFFLINE_OWNED,
    PG_OFFLINE_OWNER_SHIFT,
    PG_OFFLINE_PENDING,
    PG_OFFLINE_STATUS_OFFLINE_PENDING,
    PG_OFFLINE_STATUS_OFFLINED,
    PG_OFFLINE_XENPAGE,
    PG_ONLINE_ONLINED,
    QUERY_PAGE_OFFLINE,
    OfflineStatus,
    PageOfflineOp,
)
from hypervisor.public.units import DOMID_INVALID, DOMID_XEN, Mfn


def page_offline_op(host: Host, caller: Caller, request: PageOfflineOp) -> Steps:
    """Frame by frame, each in a step of its own; it stops at the first error, what was done stays."""
    yield _step(host, caller)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    frames = request.end - request.start + 1
    if frames <= 0:
        return Result(-Errno.EINVAL)
    if frames > MOST_FRAMES:
        return Result(-Errno.ENOMEM)
    status = [PG_OFFLINE_INVALID] * frames
    for index in range(frames):
        if index:
            yield _step(host, caller)
        error, status[index] = _one(host, request.cmd, request.start + index)
        if error:
            return Result(error, OfflineStatus(tuple(status)))
    return Result(0, OfflineStatus(tuple(status)))


def _step(host: Host, caller: Caller) -> Step:
    """Where offlining recalls claims it may write any domain that has one (N7)."""
    domids = host.domids if host.release.offlining_recalls_claims and caller.privileged else ()
    claimants = tuple(domain_resource(domid) for domid in domids)
    return declare(
        "offline",
        reads=(HEAP, DOMAINS, EVERYBODY),
        writes=(HEAP, CLAIMS, *claimants),
        lock=SYSCTL_LOCK if caller.privileged else None,
    )


def _one(host: Host, cmd: int, mfn: Mfn) -> tuple[int, int]:
    """One frame: (errno or 0, status)."""
    if mfn >= host.total_pages:
        return -Errno.EINVAL, PG_OFFLINE_INVALID
    if cmd == PAGE_OFFLINE:
        return _offline(host, mfn)
    if cmd == PAGE_ONLINE:
        return 0, _online(host, mfn)
    if cmd == QUERY_PAGE_OFFLINE:
        return 0, _query(host, mfn)
    return -Errno.EINVAL, PG_OFFLINE_INVALID


def _offline(host: Host, mfn: Mfn) -> tuple[int, int]:
    """offline_page: a free frame goes at once, an allocated one when it is freed."""
    owner = host.frames.owner(mfn)
    if any(first <= mfn < first + (1 << order) for first, order in host.xen_frames):
        return -Errno.EPERM, PG_OFFLINE_XENPAGE | PG_OFFLINE_FAILED | _owner_bits(DOMID_XEN)
    if owner == FREE:
        retire_frame(host, mfn)
        return 0, PG_OFFLINE_OFFLINED
    if owner == OFFLINED:
        return 0, PG_OFFLINE_OFFLINED
    host.offlining[mfn] = None
    if owner == DOMID_XEN:
        return 0, PG_OFFLINE_XENPAGE | PG_OFFLINE_PENDING | _owner_bits(DOMID_XEN)
    if owner in (IN_FLIGHT, TMEM_OWNER):
        # Reported as failed, but marked: it goes like any other when it is freed
        return 0, PG_OFFLINE_ANONYMOUS | PG_OFFLINE_FAILED | _owner_bits(DOMID_INVALID)
    return 0, PG_OFFLINE_OWNED | PG_OFFLINE_PENDING | _owner_bits(owner)


def _owner_bits(owner: int) -> int:
    return owner << PG_OFFLINE_OWNER_SHIFT


def _online(host: Host, mfn: Mfn) -> int:
    """online_page: back into the heap, or into ordinary use; 0 for a frame that never left."""
    if mfn in host.offlining:
        del host.offlining[mfn]
        return PG_ONLINE_ONLINED
    if host.frames.owner(mfn) != OFFLINED:
        return 0
    host.frames.set_owner(mfn, 0, FREE, OFFLINED)
    host.offlined_pages -= 1
    host.heap.give(mfn, 0)
    if host.tmem is not None:
        host.tmem.sample_midsize(host.heap.total_avail)
    return PG_ONLINE_ONLINED


def _query(host: Host, mfn: Mfn) -> int:
    """query_page_offline; 0 for a frame in service."""
    if mfn in host.offlining:
        return PG_OFFLINE_STATUS_OFFLINE_PENDING
    return PG_OFFLINE_STATUS_OFFLINED if host.frames.owner(mfn) == OFFLINED else 0
