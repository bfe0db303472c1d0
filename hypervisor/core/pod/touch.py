"""A guest touches a populate-on-demand gfn: a page moves from the cache to the physmap (A30)."""

from typing import Final

from hypervisor.core.crash import domain_crash
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.pod.state import LARGE
from hypervisor.core.refusals import note_refusal
from hypervisor.core.sources import Reason, Source
from hypervisor.public.units import Gfn, Pages

SWEEP_LIMIT: Final[Pages] = 1024
"""POD_SWEEP_LIMIT: gfns looked at before a sweep that has found something may stop."""


def populate_on_demand(host: Host, domain: Domain, gfn: Gfn) -> bool:
    """p2m_pod_demand_populate. False: nothing in the cache, no page of zeros to be had, the domain crashed.

    True for every other gfn, and for a dying domain's, whose entry stays a hole. tot_pages does not move.
    """
    pod = domain.pod
    while pod.entries and pod.is_entry(gfn) and domain.is_dying == Dying.ALIVE and domain.p2m is not None:
        if pod.count == 0:
            _sweep(host, domain)
        if pod.count == 0:
            note_refusal(host, domain.domid, 1, Source.POD, Reason.EMPTY)
            domain_crash(host, domain)
            return False
        order = LARGE if pod.is_large(gfn) else 0
        mfn = pod.take(order)
        if mfn is None:
            pod.shatter(gfn)  # remap_and_retry: no 2-MiB extent left in the cache
            continue
        first = gfn >> order << order
        pod.clear(first, order)
        domain.p2m.map(first, mfn, order)
        pod.highest_touched = max(pod.highest_touched, gfn)
    return True


def _sweep(host: Host, domain: Domain) -> None:
    """p2m_pod_emergency_sweep: pages of zeros go back to the cache, from the highest gfn touched down.

    Xen looks at every gfn on the way; holes are left out here, since a guest chooses how many there are.
    """
    assert domain.p2m is not None, "a sweep without physmap"
    pod = domain.pod
    start = pod.sweep_from or pod.highest_touched
    last = start - SWEEP_LIMIT
    stopped: Gfn = 0
    for gfn in domain.p2m.mapped_below(start + 1):
        if gfn == 0 or (pod.count and gfn < last):
            break  # Xen's sweep ends above gfn 0
        if _is_reclaimable(host, domain, gfn):
            mfn = domain.p2m.unmap(gfn)
            assert mfn is not None, "a page of zeros that is mapped nowhere"
            pod.mark(gfn, 0)
            pod.add(mfn, 0)
            stopped = max(0, min(gfn, last) - 1)
    pod.sweep_from = stopped


def _is_reclaimable(host: Host, domain: Domain, gfn: Gfn) -> bool:
    """p2m_pod_zero_check: the domain's own page, held by nobody else, and all zeros."""
    mfn = domain.p2m.lookup(gfn) if domain.p2m is not None else None
    return (
        mfn is not None
        and host.frames.owner(mfn) == domain.domid
        and not host.frames.references(mfn)
        and not host.contents.get(mfn)
    )
