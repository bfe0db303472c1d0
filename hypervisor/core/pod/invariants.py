"""What must hold of a domain's populate-on-demand entries and cache in every state (A29, A30)."""

from collections.abc import Iterator

from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.pod.state import REGION


def pod_faults(host: Host, domain: Domain) -> Iterator[str]:
    """A line for everything that is wrong. A dying domain's cache goes with its other pages."""
    pod, name = domain.pod, f"domain {domain.domid}"
    if domain.is_dying != Dying.ALIVE:
        return
    cached = [first + index for first in pod.supers for index in range(REGION)] + pod.singles
    if len(cached) != pod.count or len(frozenset(cached)) != len(cached):
        yield f"{name}: cache of {pod.count} pages holds {len(cached)}"
    for mfn in cached:
        if host.frames.owner(mfn) != domain.domid or host.frames.references(mfn):
            yield f"{name}: mfn {mfn} in the cache is owned by {host.frames.owner(mfn):#x}"
    if (marked := pod.marked_gfns()) != pod.entries:
        yield f"{name}: entry_count {pod.entries}, {marked} gfns are marked"
    if domain.p2m is None:
        return
    for gfn, _, order in domain.p2m.leaves() if marked else ():
        if pod.marked_in(gfn, order):
            yield f"{name}: gfn {gfn}, order {order}, is mapped and marked"
    if pod.count:
        mapped = {mfn: gfn for gfn, mfn, order in domain.p2m.leaves() if order == 0}
        for mfn in cached:
            if mfn in mapped:
                yield f"{name}: mfn {mfn} is in the cache and mapped at gfn {mapped[mfn]}"
