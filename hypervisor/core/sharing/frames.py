"""The locked regions of mem_sharing.c: what happens to a shared frame in one go (S6-S9, S12, P8)."""

from typing import Final

from hypervisor.core.allocation import IN_FLIGHT
from hypervisor.core.claims import adjust_tot_pages
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.sharing.state import SharedFrame
from hypervisor.core.steps import Resource
from hypervisor.public.units import DOMID_COW, DomId, Gfn, Mfn

SHARING: Final[Resource] = ("sharing", 0)
"""Who shares which frame, and what every frame holds."""


def frame_lock(mfn: Mfn) -> str:
    """The page lock of one shared frame, held while a page is made private (P8)."""
    return f"shared frame {mfn:#x}"


def shared_frame(host: Host, domain: Domain, gfn: Gfn) -> Mfn | None:
    """The shared frame behind a gfn; None when the p2m entry is of another type."""
    if gfn not in domain.shared_gfns or domain.p2m is None or host.find(domain.domid) is not domain:
        return None
    return domain.p2m.lookup(gfn)


def make_sharable(host: Host, domain: Domain, gfn: Gfn, mfn: Mfn) -> int:
    """page_make_sharable and its record: d -> dom_cow, tot_pages - 1, nothing freed; the new handle (S6)."""
    sharing = host.sharing
    host.frames.set_owner(mfn, 0, DOMID_COW, domain.domid)
    adjust_tot_pages(host, domain, -1)  # up to 4.20 a claim that still stands grows by it (C26, C28)
    handle, sharing.next_handle = sharing.next_handle, sharing.next_handle + 1
    sharing.frames[mfn] = SharedFrame(handle, {(domain.domid, gfn): None})
    sharing.nr_shared += 1
    _enter(domain, gfn, mfn)
    return handle


def make_private(host: Host, domain: Domain, gfn: Gfn, mfn: Mfn) -> None:
    """page_make_private: the last sharer gets the frame itself, past max_pages and the heap (S9a)."""
    assert list(host.sharing.frames[mfn].gfns) == [(domain.domid, gfn)], "not the last sharer"
    del host.sharing.frames[mfn]
    host.sharing.nr_shared -= 1
    del domain.shared_gfns[gfn]
    domain.shr_pages -= 1
    host.frames.set_owner(mfn, 0, domain.domid, DOMID_COW)
    adjust_tot_pages(host, domain, 1)


def move_sharers(host: Host, source: Mfn, client: Mfn) -> None:
    """share: all who share the client frame share the source instead; the client frame is in flight (S7)."""
    sharing = host.sharing
    for domid, gfn in sharing.frames[client].gfns:
        physmap = host.domains[domid].p2m
        assert physmap is not None, "a sharer without physmap"
        physmap.map(gfn, source, 0)
    sharing.frames[source].gfns |= sharing.frames.pop(client).gfns
    sharing.nr_shared -= 1
    sharing.nr_saved += 1
    host.frames.set_owner(client, 0, IN_FLIGHT, DOMID_COW)
    host.in_flight_pages += 1


def add_sharer(host: Host, domain: Domain, gfn: Gfn, mfn: Mfn) -> None:
    """add_physmap: one more reference at a hole (S8)."""
    host.sharing.frames[mfn].gfns[domain.domid, gfn] = None
    host.sharing.nr_saved += 1
    _enter(domain, gfn, mfn)


def take_copy(host: Host, domain: Domain, gfn: Gfn, mfn: Mfn, copy: Mfn) -> bool:
    """The copy, assigned already, stands behind the gfn from now on (S9b).

    True when the shared frame lost its last sharer by it and is in flight: others may have left meanwhile.
    """
    host.contents.put(copy, host.contents.get(mfn))
    freed = drop_sharer(host, domain, gfn, mfn)
    assert domain.p2m is not None, "a sharer without physmap"
    domain.p2m.map(gfn, copy, 0)
    return freed


def drop_sharer(host: Host, domain: Domain, gfn: Gfn, mfn: Mfn) -> bool:
    """One reference goes; True when it was the last and the frame is in flight to the heap (S12)."""
    sharing = host.sharing
    frame = sharing.frames[mfn]
    del frame.gfns[domain.domid, gfn]
    del domain.shared_gfns[gfn]
    domain.shr_pages -= 1
    if frame.gfns:
        sharing.nr_saved -= 1
        return False
    del sharing.frames[mfn]
    sharing.nr_shared -= 1
    host.frames.set_owner(mfn, 0, IN_FLIGHT, DOMID_COW)
    host.in_flight_pages += 1
    return True


def drop_shared_slice(host: Host, domain: Domain, most: int) -> list[Mfn]:
    """relinquish_shared_pages: `most` references of a dying domain go; the frames in flight by it (S12)."""
    freed: list[Mfn] = []
    for gfn in sorted(domain.shared_gfns)[:most]:
        mfn = shared_frame(host, domain, gfn)
        assert mfn is not None and domain.p2m is not None, "a shared gfn without a frame"
        if drop_sharer(host, domain, gfn, mfn):
            freed.append(mfn)
        domain.p2m.unmap(gfn)
    return freed


def audit(host: Host) -> int:
    """mem_sharing_audit: how many shared frames and counters are not what their references say."""
    sharing = host.sharing
    errors = 0
    references = 0
    for mfn, frame in sharing.frames.items():
        errors += host.frames.owner(mfn) != DOMID_COW or not frame.gfns
        references += len(frame.gfns)
        errors += sum(not _points_to(host, domid, gfn, mfn) for domid, gfn in frame.gfns)
    errors += sharing.nr_shared != len(sharing.frames)
    return errors + (sharing.nr_saved != references - len(sharing.frames))


def _points_to(host: Host, domid: DomId, gfn: Gfn, mfn: Mfn) -> bool:
    domain = host.find(domid)
    return domain is not None and shared_frame(host, domain, gfn) == mfn


def _enter(domain: Domain, gfn: Gfn, mfn: Mfn) -> None:
    assert domain.p2m is not None, "sharing is for domains with a physmap"
    domain.p2m.map(gfn, mfn, 0)  # a superpage is split: a shared entry maps 4 KiB
    domain.shared_gfns[gfn] = None
    domain.shr_pages += 1
