"""The sharing ring: how a helper in the control domain hears that a page could not be made private (S10).

Xen never retries by itself and has no time limit: a paused vcpu waits for the helper's answer. A ring full of
requests, and the EBUSY nobody sees then, is not modelled.
"""

from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.sharing.state import Ring
from hypervisor.core.steps import (
    DOMAINS,
    DOMCTL_LOCK,
    Caller,
    Emission,
    Resource,
    Result,
    Steps,
    domain_resource,
    step,
)
from hypervisor.public.errors import Errno
from hypervisor.public.sharing import RING_DISABLE, RING_ENABLE, RING_RESUME, SharingEvent, SharingRing
from hypervisor.public.units import DomId, Gfn


def ring_resource(domid: DomId) -> Resource:
    """One domain's sharing ring: who listens, and which vcpus wait."""
    return ("sharing ring", domid)


def notify_enomem(host: Host, domain: Domain, gfn: Gfn, *, vcpu_paused: bool) -> int | None:
    """mem_sharing_notify_enomem: the number of the fault to wait for, None where nobody listens (ENOSYS)."""
    ring = host.sharing.rings.get(domain.domid)
    if ring is None:
        return None
    host.emit(Emission(ring.helper, SharingEvent(domain.domid, gfn, vcpu_paused, host.commit)))
    fault, host.sharing.next_fault = host.sharing.next_fault, host.sharing.next_fault + 1
    if vcpu_paused:
        ring.paused.append(fault)
    return fault


def is_waiting(host: Host, domain: Domain, fault: int) -> bool:
    """True until the helper has answered the fault."""
    ring = host.sharing.rings.get(domain.domid)
    return ring is not None and fault in ring.paused


def sharing_ring(host: Host, caller: Caller, request: SharingRing) -> Steps:
    """mem_event_domctl, sharing mode: one step under the domctl lock."""
    this = domain_resource(request.domid)
    lock = DOMCTL_LOCK if caller.privileged else None
    yield step("sharing ring", reads=(DOMAINS, this), writes=(this, ring_resource(request.domid)), lock=lock)
    domain = host.find(request.domid)
    if domain is None:
        return Result(-Errno.ESRCH)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if domain.is_dying or domain.domid == caller.domid:
        return Result(-Errno.EINVAL)
    if not domain.hap:
        return Result(-Errno.ENODEV)
    ring = host.sharing.rings.get(domain.domid)
    if request.op == RING_ENABLE:
        if ring is not None:
            return Result(-Errno.EBUSY)  # one helper at a time
        host.sharing.rings[domain.domid] = Ring(caller)
        return Result(0)
    if ring is None or request.op not in (RING_DISABLE, RING_RESUME):
        return Result(-Errno.EINVAL)
    close_ring(host, domain)
    if request.op == RING_RESUME:
        host.sharing.rings[domain.domid] = Ring(ring.helper)
    return Result(0)


def close_ring(host: Host, domain: Domain) -> None:
    """Nobody listens any more; the vcpus that waited retry."""
    ring = host.sharing.rings.pop(domain.domid, None)
    if ring is not None and ring.paused:
        host.resumed.append(domain.domid)
