"""Giving back what was never there: decrease_reservation of populate-on-demand gfns (A11, A30)."""

from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.public.units import Gfn, Mfn, Order


def decrease_entries(host: Host, domain: Domain, gfn: Gfn, order: Order) -> bool:
    """p2m_pod_decrease_reservation without its last part, the cut of a cache that has grown too large.

    Entries of the extent vanish, which takes no page from the domain. While the cache holds less than the
    entries left could ask for, pages of the extent go into it instead of to the heap. True when nothing of
    the extent is left to do. (That a whole 2-MiB extent of zeros is taken back at once is not modelled.)
    """
    pod = domain.pod
    if not pod.entries or domain.is_dying or domain.p2m is None:
        return False
    marked, others = pod.marked_in(gfn, order), 0
    steal = pod.entries > pod.count
    if not marked and not steal:
        return False
    for frame in range(gfn, gfn + (1 << order)) if marked < 1 << order else ():
        if pod.is_entry(frame):
            pod.clear(frame, 0)
        elif steal and (mfn := _own_page(host, domain, frame)) is not None:
            domain.p2m.unmap(frame)
            host.contents.put(mfn, 0)  # p2m_pod_cache_add: pages are zeroed before they join the cache
            pod.add(mfn, 0)
            steal = pod.entries > pod.count
        else:
            others += 1
    pod.clear(gfn, order)
    return others == 0


def _own_page(host: Host, domain: Domain, gfn: Gfn) -> Mfn | None:
    mfn = domain.p2m.lookup(gfn) if domain.p2m is not None else None
    if mfn is None or host.frames.owner(mfn) != domain.domid or host.frames.references(mfn):
        return None
    return mfn
