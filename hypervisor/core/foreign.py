"""Foreign mappings: page references of the control domain that outlive their domain (A11, A13)."""

from hypervisor.core.allocation import complete_destroy_if_empty, give_back, unassign_page
from hypervisor.core.decrease import lookup_page
from hypervisor.core.host import Host
from hypervisor.core.pod.touch import populate_on_demand
from hypervisor.core.reservation import append_extent, extents_from
from hypervisor.core.sharing.frames import SHARING
from hypervisor.core.sharing.unshare import unshare_all
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    HEAP,
    REFERENCES,
    Caller,
    Result,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.domctl import Frames, MapForeign, UnmapForeign
from hypervisor.public.errors import Errno
from hypervisor.public.units import MAX_NR_EXTENTS, Run, runs_length


def map_foreign(host: Host, caller: Caller, request: MapForeign) -> Steps:
    """Take a reference on every page named, or on none (EINVAL)."""
    domid = request.domid
    this = (domain_resource(domid), p2m_resource(domid))
    # The domain too: a touch of a populate-on-demand gfn may crash it (A30)
    map_step = step("map foreign", reads=(DOMAINS, SHARING, *this), writes=(REFERENCES, *this))
    yield map_step
    if not caller.privileged:
        return Result(-Errno.EPERM)
    domain = host.find(domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if domain.is_dying or runs_length(request.frames) > min(
        MAX_NR_EXTENTS, domain.tot_pages + domain.shr_pages
    ):
        return Result(-Errno.EINVAL)
    for frame in extents_from(request.frames, 0, 0):
        if not populate_on_demand(host, domain, frame):
            return Result(-Errno.EINVAL)
        if frame in domain.shared_gfns:  # P2M_UNSHARE: a writable mapping breaks sharing
            if not (yield from unshare_all(host, domain, (frame,))):
                return Result(-Errno.ENOMEM)
            yield map_step
    mfns = [lookup_page(host, domain, frame) for frame in extents_from(request.frames, 0, 0)]
    if None in mfns:
        return Result(-Errno.EINVAL)
    frames: list[Run] = []
    for mfn in mfns:
        if mfn is not None:
            host.frames.get_page(mfn)
            append_extent(frames, mfn, 0)
    return Result(0, Frames(tuple(frames)))


def unmap_foreign(host: Host, caller: Caller, request: UnmapForeign) -> Steps:
    """Drop references; a page its domain has given up already goes back to the heap now."""
    this = domain_resource(request.domid)
    drop = step("drop", reads=(DOMAINS, REFERENCES, this), writes=(REFERENCES, this, CLAIMS, DOMAINS))
    merge = step("merge", writes=(HEAP, DOMAINS, this))  # with its last page a dead domain leaves
    yield drop
    if not caller.privileged:
        return Result(-Errno.EPERM)
    first = True
    for mfn in extents_from(request.frames, 0, 0):
        if not first:
            yield drop
        first = False
        if host.frames.owner(mfn) != request.domid or not host.frames.references(mfn):
            return Result(-Errno.EINVAL)
        if host.frames.put_page(mfn) or mfn not in host.dangling:
            continue
        domain = host.domains[host.dangling.pop(mfn)]
        unassign_page(host, domain, mfn, 0)
        yield merge
        give_back(host, mfn, 0)
        complete_destroy_if_empty(host, domain)
    return Result(0)
