"""XENMEM_decrease_reservation (rule A11, steps P3 and P4)."""

from functools import lru_cache

from hypervisor.core.allocation import complete_destroy_if_empty, give_back, unassign_page
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.pod.decrease import decrease_entries
from hypervisor.core.pod.target import shrink_cache
from hypervisor.core.reservation import count_in_range, denied, extents_from, max_order, may_target
from hypervisor.core.sharing.unshare import unshare_all
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    HEAP,
    REFERENCES,
    STEPS_KEPT,
    Caller,
    Part,
    Result,
    Step,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.memory import DecreaseReservation
from hypervisor.public.units import DOMID_SELF, Mfn


def decrease_reservation(host: Host, caller: Caller, request: DecreaseReservation) -> Steps:
    """Give extents back page by page; the answer is the number of whole extents done (A11).

    An extent that meets a hole half-way is not counted, although its first pages are gone.
    """
    domid = caller.domid if request.domid == DOMID_SELF else request.domid
    unassign, merge = _steps(domid)
    start = request.start_extent
    yield unassign
    if not count_in_range(request.nr_extents, start):
        return Result(start)
    domain = host.find_any(caller, request.domid)
    if domain is None:
        return Result(start)
    if not may_target(caller, domain):
        return Result(denied(host, start))
    order = request.extent_order
    if order > max_order(caller):
        return Result(start)
    done = start
    for first in extents_from(request.extents, order, start):
        if done > start:
            yield unassign
        if domain.pod.entries:
            handled = decrease_entries(host, domain, first, order)
            if domain.pod.count > domain.pod.entries:
                yield from shrink_cache(host, domain, domain.pod.entries, unassign)
            if handled:
                done += 1
                continue
        if not (yield from _extent(host, domain, range(first, first + (1 << order)), unassign, merge)):
            break
        done += 1
    return Result(done)


def _extent(host: Host, domain: Domain, frames: range, unassign: Step, merge: Step) -> Part[bool]:
    """Give one extent back page by page, the first in the step under way; False at a page that cannot go."""
    for frame in frames:
        if frame > frames.start:
            yield unassign
        if frame in domain.shared_gfns:
            # A11: made private first, so giving memory back can need memory
            if not (yield from unshare_all(host, domain, (frame,))):
                return False
            yield unassign
        mfn = remove_page(host, domain, frame)
        if mfn is None:
            return False
        if host.frames.references(mfn):
            host.dangling[mfn] = domain.domid  # freed when the last mapping goes (A11)
            continue
        unassign_page(host, domain, mfn, 0)
        yield merge
        give_back(host, mfn, 0)
        complete_destroy_if_empty(host, domain)
    return True


@lru_cache(maxsize=STEPS_KEPT)
def _steps(domid: int) -> tuple[Step, Step]:
    this = (domain_resource(domid), p2m_resource(domid), CLAIMS)
    return (
        step("unassign", reads=(*this, DOMAINS, REFERENCES), writes=(*this, REFERENCES)),
        # With its last page a dead domain leaves
        step("merge", writes=(HEAP, DOMAINS, domain_resource(domid))),
    )


def lookup_page(host: Host, domain: Domain, frame: int) -> Mfn | None:
    """The page that a guest names: by gfn (HVM) or by mfn (PV). None: a hole or somebody else's."""
    mfn = frame
    if domain.hvm:
        mapped = domain.p2m.lookup(frame) if domain.p2m is not None else None
        if mapped is None:
            return None
        mfn = mapped
    # get_page() fails on a page that an exchange has stolen or a kill has taken back, mapped or not; and a
    # domain that left owns nothing, although a later one may bear its domid.
    if host.frames.owner(mfn) != domain.domid or mfn in host.dangling:
        return None
    if host.tmem is not None and mfn in host.tmem.persistent_frames:
        return None  # its own, but tmem's to keep: the guest has no name for it
    return mfn if host.find(domain.domid) is domain else None


def remove_page(host: Host, domain: Domain, frame: int) -> Mfn | None:
    """guest_remove_page without the freeing: the frame is no longer the guest's to name."""
    mfn = lookup_page(host, domain, frame)
    if mfn is not None and domain.p2m is not None:
        domain.p2m.unmap(frame)
    return mfn
