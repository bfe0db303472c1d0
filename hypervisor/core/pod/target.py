"""XENMEM_set_pod_target and get_pod_target: how much a domain's cache holds (A29)."""

from hypervisor.core.allocation import assign_pages, give_back, take_extent, unassign_page
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.pod.state import LARGE, REGION
from hypervisor.core.refusals import note_growth, note_no_extent, note_not_assigned
from hypervisor.core.sources import Source
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    HEAP,
    Caller,
    Part,
    Result,
    Step,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.errors import Errno
from hypervisor.public.pod import GetPodTarget, PodTarget, SetPodTarget
from hypervisor.public.units import Order, Pages


def get_pod_target(host: Host, caller: Caller, request: GetPodTarget) -> Steps:
    """The figures as they are."""
    yield step("get_pod_target", reads=(DOMAINS, domain_resource(request.domid), p2m_resource(request.domid)))
    domain, refusal = _subject(host, caller, request.domid)
    return Result(refusal) if domain is None else Result(0, _figures(domain))


def set_pod_target(host: Host, caller: Caller, request: SetPodTarget) -> Steps:
    """p2m_pod_set_mem_target, preempted at every boundary: what the cache should hold is worked out anew."""
    this = (domain_resource(request.domid), p2m_resource(request.domid))
    turn = step("set_pod_target", (DOMAINS, *this), (CLAIMS, *this))
    yield turn
    domain, refusal = _subject(host, caller, request.domid)
    if domain is None:
        return Result(refusal)
    while (wanted := _wanted(domain, request.target_pages)) != domain.pod.count:
        if wanted < domain.pod.count:
            yield from shrink_cache(host, domain, wanted, turn)
        else:
            large = wanted - domain.pod.count >= REGION
            if not (large and (yield from _grow(host, domain, LARGE))) and not (
                yield from _grow(host, domain, 0)
            ):
                return Result(-Errno.ENOMEM, _figures(domain))  # what was got stays (A29)
            yield turn
    return Result(0, _figures(domain))


def _subject(host: Host, caller: Caller, domid: int) -> tuple[Domain | None, int]:
    domain = host.find(domid)
    if domain is None:
        return None, -Errno.ESRCH
    if not caller.privileged:
        return None, -Errno.EPERM
    return (None, -Errno.EINVAL) if domain.p2m is None else (domain, 0)


def _figures(domain: Domain) -> PodTarget:
    return PodTarget(domain.domid, domain.tot_pages, domain.pod.count, domain.pod.entries)


def _wanted(domain: Domain, target: Pages) -> Pages:
    """The size the cache should have; what it has where there is nothing to do (A29)."""
    pod = domain.pod
    populated = domain.tot_pages - pod.count
    if (populated > 0 and pod.entries == 0) or domain.is_dying or target < domain.tot_pages:
        return pod.count
    wanted = target - populated
    return min(wanted, pod.entries) if populated > 0 else wanted


def _grow(host: Host, domain: Domain, order: Order) -> Part[bool]:
    """One extent for the cache: an ordinary allocation, by the claim and by max_pages (C26, A12)."""
    this = (domain_resource(domain.domid), p2m_resource(domain.domid))
    yield step("take", (DOMAINS, HEAP, CLAIMS, *this), (HEAP, CLAIMS, *this))
    mfn = take_extent(host, domain, order)
    if mfn is None:
        note_no_extent(host, domain.domid, Source.POD, domain=domain, order=order)
        return False
    yield step("assign", this, (*this, CLAIMS))
    if not assign_pages(host, domain, mfn, order):
        note_not_assigned(host, domain, Source.POD, order)
        yield step("give back", this, (HEAP,))  # what comes next is the figures, or a smaller extent
        give_back(host, mfn, order)
        return False
    domain.pod.add(mfn, order)
    note_growth(host, Source.POD, 1 << order)
    return True


def shrink_cache(host: Host, domain: Domain, wanted: Pages, turn: Step) -> Part[None]:
    """p2m_pod_set_cache_target downwards: pages of the cache go to the heap, one extent a `turn`.

    Begins in the step under way and ends in a `turn`, both of which must declare the domain, its physmap and
    CLAIMS: no page is taken from the domain in the step that merges another into the heap (P3).
    """
    while domain.pod.count > wanted:
        excess = domain.pod.count - wanted
        order = LARGE if excess >= REGION and domain.pod.supers else 0
        mfn = domain.pod.take(order)
        assert mfn is not None, "a cache that counts pages it has not"
        unassign_page(host, domain, mfn, order)
        yield step("merge", writes=(HEAP,))
        give_back(host, mfn, order)
        yield turn
