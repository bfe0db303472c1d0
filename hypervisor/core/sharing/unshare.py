"""Making a shared page private: the copy-on-write break, step by step (S9, S10, P8)."""

from collections.abc import Iterable

from hypervisor.core.allocation import assign_pages, give_back, take_extent, unassign_page
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.refusals import note_growth, note_no_extent, note_not_assigned
from hypervisor.core.sharing.frames import SHARING, frame_lock, make_private, shared_frame, take_copy
from hypervisor.core.sharing.ring import notify_enomem, ring_resource
from hypervisor.core.sources import Source
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    HEAP,
    Part,
    Step,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.units import Gfn, Mfn


def unshare_page(host: Host, domain: Domain, gfn: Gfn) -> Part[bool | None]:
    """mem_sharing_unshare_page. True: private by a copy; False: private without one; None: no memory (S9).

    The frame's lock is held to the end, so a second sharer waits, and then may find himself the last.
    """
    this = (domain_resource(domain.domid), p2m_resource(domain.domid))
    while (mfn := shared_frame(host, domain, gfn)) is not None:
        lock = frame_lock(mfn)
        yield step("unshare", (*this, DOMAINS, SHARING), (*this, SHARING, CLAIMS), lock)
        if shared_frame(host, domain, gfn) != mfn:
            continue  # shared away, or made private, before the lock was ours
        if len(host.sharing.frames[mfn].gfns) == 1:
            make_private(host, domain, gfn, mfn)
            return False
        return (yield from _copy(host, domain, gfn, mfn))
    return False


def _copy(host: Host, domain: Domain, gfn: Gfn, mfn: Mfn) -> Part[bool | None]:
    """S9b: P1 or P2 with the lock held. None: refused, and the counters are as before.

    False: another vcpu has made the page private under another frame's lock, and the copy goes back.
    """
    lock, this, ring = frame_lock(mfn), domain_resource(domain.domid), ring_resource(domain.domid)
    yield step("take", (DOMAINS, HEAP, CLAIMS, this, ring), (HEAP, CLAIMS, this, ring), lock)
    copy = take_extent(host, domain, 0)
    if copy is None:
        note_no_extent(host, domain.domid, Source.UNSHARE, domain=domain)
        return None
    yield step("assign", (this,), (this, CLAIMS), lock)
    if not assign_pages(host, domain, copy, 0):
        note_not_assigned(host, domain, Source.UNSHARE)
        yield _last("give back", domain, lock)
        give_back(host, copy, 0)
        return None
    yield step(
        "copy", (this, DOMAINS, SHARING), (p2m_resource(domain.domid), this, SHARING, HEAP, CLAIMS), lock
    )
    # share does not wait for the lock (ARCHITECTURE, decisions): the frame behind the gfn may be another now,
    # and another writer of the gfn may have made it private under that frame's lock
    current = shared_frame(host, domain, gfn)
    if current is None and domain.is_dying == Dying.ALIVE:
        unassign_page(host, domain, copy, 0)
        yield _last("give back", domain, lock)
        give_back(host, copy, 0)
        return False
    note_growth(host, Source.UNSHARE, 1)
    if current is None:
        return None  # killed: its references are gone, and destruction frees the copy with the other pages
    if take_copy(host, domain, gfn, current, copy):
        yield _last("merge", domain, lock)
        give_back(host, current, 0)
    return True


def _last(name: str, domain: Domain, lock: str) -> Step:
    """The step in which a page in flight goes back to the heap.

    Callers go on in it: after a refusal with the ring or a crash (S10), otherwise to what is shared still.
    """
    this, ring = domain_resource(domain.domid), ring_resource(domain.domid)
    return step(name, (DOMAINS, SHARING, p2m_resource(domain.domid)), (HEAP, this, ring), lock)


def unshare_all(host: Host, domain: Domain, gfns: Iterable[Gfn]) -> Part[bool]:
    """Make every one of these private for somebody who is no vcpu: told to a helper, not waited for (S10)."""
    for gfn in gfns:
        while gfn in domain.shared_gfns:
            if (yield from unshare_page(host, domain, gfn)) is None:
                if domain.is_dying == Dying.ALIVE:
                    notify_enomem(host, domain, gfn, vcpu_paused=False)
                return False
    return True
