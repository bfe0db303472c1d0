"""A domain reads and writes its memory: what an EPT violation leads to (S9, S10, A30; hvm.c)."""

from hypervisor.core.crash import domain_crash, never_return
from hypervisor.core.decrease import lookup_page
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.pod.touch import populate_on_demand
from hypervisor.core.reservation import may_target
from hypervisor.core.sharing.frames import SHARING, shared_frame
from hypervisor.core.sharing.ring import is_waiting, notify_enomem, ring_resource
from hypervisor.core.sharing.unshare import unshare_page
from hypervisor.core.steps import (
    DOMAINS,
    HEAP,
    REFERENCES,
    Caller,
    Part,
    Result,
    Step,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.access import PageContent, ReadPage, SharingBroken, WritePage
from hypervisor.public.errors import Errno
from hypervisor.public.units import DOMID_SELF, DomId, Gfn, Mfn


def read_page(host: Host, caller: Caller, request: ReadPage) -> Steps:
    """Shared or not, a page is read where it is."""
    domid = caller.domid if request.domid == DOMID_SELF else request.domid
    yield _access("read", domid)
    domain, refusal = _subject(host, caller, domid)
    if domain is None:
        return Result(refusal)
    if not populate_on_demand(host, domain, request.gfn):
        yield from _out_of_pod_memory(caller, domain)
        return Result(-Errno.EFAULT)
    mfn = _frame(host, domain, request.gfn)
    if mfn is None:
        return Result(-Errno.EFAULT)
    return Result(0, PageContent(host.contents.get(mfn)))


def write_page(host: Host, caller: Caller, request: WritePage) -> Steps:
    """A write that meets a shared page makes it private first, and is then tried anew."""
    domid = caller.domid if request.domid == DOMID_SELF else request.domid
    write = _access("write", domid)
    copied: bool | None = None
    stalls = 0
    while True:
        yield write
        domain, refusal = _subject(host, caller, domid)
        if domain is None:
            return Result(refusal)
        if not populate_on_demand(host, domain, request.gfn):
            yield from _out_of_pod_memory(caller, domain)
            return Result(-Errno.EFAULT)
        if shared_frame(host, domain, request.gfn) is None:
            break
        outcome = yield from unshare_page(host, domain, request.gfn)
        if outcome is not None:
            copied = bool(copied or outcome)
        elif domain.is_dying != Dying.ALIVE:
            return Result(-Errno.ENOMEM)
        elif caller.domid == domid:
            yield from _fault(host, domain, request.gfn)
            stalls += 1
        else:
            notify_enomem(host, domain, request.gfn, vcpu_paused=False)
            return Result(-Errno.ENOMEM)
    mfn = _frame(host, domain, request.gfn)
    if mfn is None:
        return Result(-Errno.EFAULT)
    host.contents.put(mfn, request.content)
    return Result(0, None if copied is None else SharingBroken(copied, stalls))


def _access(name: str, domid: DomId) -> Step:
    this = (domain_resource(domid), p2m_resource(domid))
    # A sweep may give pages of the cache back, passing by those mapped elsewhere, and a page of the cache may
    # appear (A30)
    return step(name, (DOMAINS, SHARING, REFERENCES, *this), (SHARING, HEAP, *this))


def _subject(host: Host, caller: Caller, domid: DomId) -> tuple[Domain | None, int]:
    domain = host.find(domid)
    if domain is None:
        return None, -Errno.ESRCH
    if not may_target(caller, domain):
        return None, -Errno.EPERM
    return domain, 0


def _frame(host: Host, domain: Domain, gfn: Gfn) -> Mfn | None:
    shared = shared_frame(host, domain, gfn)
    return shared if shared is not None else lookup_page(host, domain, gfn)


def _fault(host: Host, domain: Domain, gfn: Gfn) -> Part[None]:
    """No memory for the domain's own write: the vcpu waits for the helper, or the domain crashes (S10)."""
    fault = notify_enomem(host, domain, gfn, vcpu_paused=True)
    if fault is None:
        domain_crash(host, domain)
        yield from never_return()
        return
    yield step("retry", reads=(ring_resource(domain.domid),), sleeps=True)
    assert not is_waiting(host, domain, fault), "a paused vcpu ran"


def _out_of_pod_memory(caller: Caller, domain: Domain) -> Part[None]:
    """The domain has crashed (A30); if it was its own vcpu, that never runs again."""
    if caller.domid == domain.domid and domain.is_shut_down:
        yield from never_return()
