"""Reading: physinfo, getdomaininfo and its list, reservations (C34-C36, A16)."""

from bisect import bisect_left
from functools import cache, lru_cache
from typing import Final

from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.reservation import may_target
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    DOMCTL_LOCK,
    HEAP,
    STEPS_KEPT,
    SYSCTL_LOCK,
    Caller,
    Result,
    Step,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.domctl import (
    DOMINF_DYING,
    DOMINF_HAP,
    DOMINF_HVM,
    DOMINF_PAUSED,
    DOMINF_RUNNING,
    DOMINF_SHUTDOWN,
    DOMINF_SHUTDOWN_SHIFT,
    SHUTDOWN_CRASH,
    DomainInfo,
    DomainInfoList,
    GetDomainInfo,
    GetDomainInfoList,
    PhysicalInfo,
    Physinfo,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import CurrentReservation, MaximumGpfn, MaximumRamPage, MaximumReservation
from hypervisor.public.units import DOMID_FIRST_RESERVED, DOMID_SELF, DomId

_PHYSINFO: Final = step("physinfo", reads=(HEAP, CLAIMS), lock=SYSCTL_LOCK)
_PHYSINFO_DENIED: Final = step("physinfo", reads=(HEAP, CLAIMS))
_VISIT_NOBODY: Final = step("visit", reads=(DOMAINS,), lock=SYSCTL_LOCK)
_MAXIMUM_RAM_PAGE: Final = step("maximum_ram_page")


@lru_cache(maxsize=STEPS_KEPT)
def _of_domain(name: str, domid: DomId, lock: str | None = None) -> Step:
    return step(name, reads=(DOMAINS, domain_resource(domid)), lock=lock)


@lru_cache(maxsize=STEPS_KEPT)
def _maximum_gpfn(domid: DomId) -> Step:
    return step("maximum_gpfn", reads=(DOMAINS, p2m_resource(domid)))


def physinfo(host: Host, caller: Caller, _request: Physinfo) -> Steps:
    """Free and outstanding are one hold of heap_lock, so this pair is consistent (C34)."""
    yield _PHYSINFO if caller.privileged else _PHYSINFO_DENIED
    if not caller.privileged:
        return Result(-Errno.EPERM)
    return Result(
        0,
        PhysicalInfo(
            total_pages=host.total_pages,
            free_pages=host.heap.total_avail,
            scrub_pages=0,  # always 0 in every version recorded
            outstanding_pages=host.outstanding_claims,
            nr_nodes=host.heap.node_count,
            max_mfn=host.total_pages - 1,
        ),
    )


def get_domain_info(host: Host, caller: Caller, request: GetDomainInfo) -> Steps:
    """The first domain at or above the id asked for, as Xen answers it; callers compare the id."""
    locked = caller.privileged and host.release.getdomaininfo_takes_domctl_lock
    yield _of_domain("getdomaininfo", request.domid, DOMCTL_LOCK if locked else None)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if request.domid >= DOMID_FIRST_RESERVED:
        return Result(-Errno.EINVAL)
    domid = host.next_domain(request.domid)
    if domid is None:
        return Result(-Errno.ESRCH)
    return Result(0, domain_info(host, host.domains[domid]))


def get_domain_info_list(host: Host, caller: Caller, request: GetDomainInfoList) -> Steps:
    """No snapshot: each domain is read in a step of its own (C36). The answer counts them."""
    if not caller.privileged:
        yield step("deny")
        return Result(-Errno.EPERM)
    found: list[DomainInfo] = []
    domids, cursor = host.domids, request.first_domain
    place, changes = bisect_left(domids, cursor), host.domids_changed
    yield _visit(domids[place]) if place < len(domids) else _VISIT_NOBODY
    while len(found) < request.max_domains:
        if host.domids_changed != changes:  # since the last step
            place, changes = bisect_left(domids, cursor), host.domids_changed
        if place == len(domids):
            break
        domid = domids[place]
        found.append(domain_info(host, host.domains[domid]))
        cursor, place = domid + 1, place + 1
        if len(found) == request.max_domains or place == len(domids):
            break
        yield _visit(domids[place])
    return Result(len(found), DomainInfoList(tuple(found)))


@cache  # only of domids in use: without a bound no list is kept of who was asked for last
def _visit(domid: DomId) -> Step:
    return step("visit", reads=(DOMAINS, domain_resource(domid)), lock=SYSCTL_LOCK)


def domain_info(host: Host, domain: Domain) -> DomainInfo:
    """getdomaininfo(): DOMINF_dying appears only when the domain is dead (C35)."""
    flags = DOMINF_PAUSED if domain.pause_count else 0 if domain.is_shut_down else DOMINF_RUNNING
    flags |= DOMINF_SHUTDOWN | SHUTDOWN_CRASH << DOMINF_SHUTDOWN_SHIFT if domain.is_shut_down else 0
    flags |= DOMINF_HVM if domain.hvm else 0
    flags |= DOMINF_HAP if domain.hap else 0
    flags |= DOMINF_DYING if domain.is_dying == Dying.DEAD else 0
    return DomainInfo(
        domid=domain.domid,
        flags=flags,
        tot_pages=domain.tot_pages,
        max_pages=domain.max_pages,
        outstanding_pages=domain.outstanding_pages,
        shr_pages=domain.shr_pages,
        paged_pages=domain.paged_pages,
        nr_online_vcpus=domain.max_vcpus,
        incarnation=domain.incarnation,
        commit=host.commit,
    )


def current_reservation(host: Host, caller: Caller, request: CurrentReservation) -> Steps:
    """tot_pages (A16)."""
    domid = caller.domid if request.domid == DOMID_SELF else request.domid
    yield _of_domain("current_reservation", domid)
    domain = host.find(domid)
    return _query(caller, domain, domain.tot_pages if domain else 0)


def maximum_reservation(host: Host, caller: Caller, request: MaximumReservation) -> Steps:
    """max_pages (A16)."""
    domid = caller.domid if request.domid == DOMID_SELF else request.domid
    yield _of_domain("maximum_reservation", domid)
    domain = host.find(domid)
    return _query(caller, domain, domain.max_pages if domain else 0)


def maximum_gpfn(host: Host, caller: Caller, request: MaximumGpfn) -> Steps:
    """The highest gfn in use (A16)."""
    domid = caller.domid if request.domid == DOMID_SELF else request.domid
    yield _maximum_gpfn(domid)
    domain = host.find(domid)
    highest = domain.p2m.highest_gfn if domain is not None and domain.p2m is not None else 0
    return _query(caller, domain, highest)


def maximum_ram_page(host: Host, _caller: Caller, _request: MaximumRamPage) -> Steps:
    """The host's highest page number; never fails (A16)."""
    yield _MAXIMUM_RAM_PAGE
    return Result(host.total_pages - 1)


def _query(caller: Caller, domain: Domain | None, answer: int) -> Result:
    if domain is None:
        return Result(-Errno.ESRCH)
    return Result(answer if may_target(caller, domain) else -Errno.EPERM)
