"""What must hold of shared frames in every state (S3, S4, I8)."""

from collections.abc import Iterator

from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.sharing.frames import shared_frame
from hypervisor.public.units import DOMID_COW


def sharing_faults(host: Host) -> Iterator[str]:
    """A line for everything that is wrong: owners, reverse maps, counters."""
    sharing = host.sharing
    references = 0
    for mfn, frame in sharing.frames.items():
        references += len(frame.gfns)
        if host.frames.owner(mfn) != DOMID_COW:
            yield f"shared mfn {mfn} is owned by {host.frames.owner(mfn):#x}"
        if not frame.gfns:
            yield f"shared mfn {mfn} has no sharer left and was not freed"
        for domid, gfn in frame.gfns:
            domain = host.find(domid)
            if domain is None or shared_frame(host, domain, gfn) != mfn:
                yield f"mfn {mfn} names gfn {gfn} of domain {domid}, which does not map it"
    held = host.frames.held(DOMID_COW)
    if not len(sharing.frames) == sharing.nr_shared == held:
        yield f"nr_shared {sharing.nr_shared}, {len(sharing.frames)} frames, dom_cow owns {held}"
    domains = [host.domains[domid] for domid in host.domids]
    entries = sum(domain.shr_pages for domain in domains)
    if not sharing.nr_shared + sharing.nr_saved == references == entries:  # S4
        yield f"nr_shared {sharing.nr_shared}, nr_saved {sharing.nr_saved}, {references}, shr_pages {entries}"
    for domain in domains:
        yield from _domain_faults(host, domain)


def _domain_faults(host: Host, domain: Domain) -> Iterator[str]:
    if domain.shr_pages != len(domain.shared_gfns):
        yield f"domain {domain.domid}: shr_pages {domain.shr_pages}, {len(domain.shared_gfns)} entries"
    for gfn in domain.shared_gfns:
        mfn = shared_frame(host, domain, gfn)
        frame = None if mfn is None else host.sharing.frames.get(mfn)
        if frame is None or (domain.domid, gfn) not in frame.gfns:
            yield f"domain {domain.domid}: gfn {gfn} is shared, and its frame does not know"
