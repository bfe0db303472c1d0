"""XENMEM_populate_physmap and XENMEM_increase_reservation (section 2b, steps P1 and P2)."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import repeat

from hypervisor.core.allocation import Placement, assign_pages, give_back, take_extent
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.mediation import ask, awaiting, take_verdict, tell_finished
from hypervisor.core.pod.mark import mark_populate_on_demand
from hypervisor.core.refusals import note_growth, note_no_extent, note_not_assigned, note_refusal
from hypervisor.core.reservation import (
    append_extent,
    count_in_range,
    denied,
    extents_from,
    map_extent,
    max_order,
    may_target,
    placement_of,
    shared_within,
)
from hypervisor.core.sharing.frames import SHARING
from hypervisor.core.sharing.unshare import unshare_all
from hypervisor.core.sources import Reason, Source
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    HEAP,
    MEDIATION,
    STEPS_KEPT,
    Caller,
    Result,
    Step,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.domctl import Frames
from hypervisor.public.memory import MEMF_POPULATE_ON_DEMAND, IncreaseReservation, PopulatePhysmap
from hypervisor.public.units import DOMID_SELF, Gfn, Run


def populate_physmap(host: Host, caller: Caller, request: PopulatePhysmap) -> Steps:
    """Take, assign and map extent by extent; the answer is how many were done (A3, A8)."""
    gfns = extents_from(request.extents, request.extent_order, request.start_extent)
    if request.mem_flags & MEMF_POPULATE_ON_DEMAND:
        return mark_populate_on_demand(host, caller, request, gfns)
    return _extents(host, caller, request, request.nr_extents, gfns)


def increase_reservation(host: Host, caller: Caller, request: IncreaseReservation) -> Steps:
    """As populate, without the map step; always answers the frame numbers (A11)."""
    return _extents(host, caller, request, request.nr_extents, repeat(None))


def _extents(
    host: Host,
    caller: Caller,
    request: PopulatePhysmap | IncreaseReservation,
    nr_extents: int,
    gfns: Iterator[Gfn | None],
) -> Steps:
    order, start = request.extent_order, request.start_extent
    take, assign, undo, map_step = _steps(caller.domid if request.domid == DOMID_SELF else request.domid)
    yield take
    target = _target(host, caller, request, nr_extents)
    if isinstance(target, Result):
        return target
    domain, placement = target
    source = _source(caller, domain, request)
    ticket = 0
    if host.mediation.mediator is not None and not caller.privileged:
        ticket = ask(host, caller, (nr_extents - start) << order)
        yield awaiting(take, ticket)
        if not take_verdict(host, ticket):
            note_refusal(host, domain.domid, 1 << order, source, Reason.MEDIATOR)
            return Result(start)
    done = start
    frames: list[Run] = []
    while True:
        mfn = take_extent(host, domain, order, placement)
        if mfn is None:
            note_no_extent(host, domain.domid, source, domain=domain, order=order, placement=placement)
            break
        yield assign
        if not assign_pages(host, domain, mfn, order):
            note_not_assigned(host, domain, source, order)
            yield undo  # visible to others: the pages left the heap and come back (A12)
            give_back(host, mfn, order)
            break
        gfn = next(gfns)
        if gfn is None or domain.p2m is None:
            append_extent(frames, mfn, order)
        else:
            yield map_step
            if domain.shared_gfns and (shared := shared_within(domain, gfn, order)):
                # guest_physmap_add_entry makes what it replaces private first; nobody looks whether it could
                yield from unshare_all(host, domain, shared)
                yield map_step
            map_extent(host, domain, gfn, mfn, order)
        done += 1
        if done == nr_extents:
            break
        yield take
    note_growth(host, source, (done - start) << order)
    tell_finished(host, ticket, caller, (done - start) << order)
    return Result(done, Frames(tuple(frames)) if frames else None)


def _target(
    host: Host, caller: Caller, request: PopulatePhysmap | IncreaseReservation, nr_extents: int
) -> tuple[Domain, Placement] | Result:
    """Whose memory, and where it may lie; or the answer to a request that cannot be."""
    start = request.start_extent
    if not count_in_range(nr_extents, start):
        return Result(start)
    domain = host.find_any(caller, request.domid)
    if domain is None:
        return Result(start)
    if not may_target(caller, domain):
        return Result(denied(host, start))
    placement = placement_of(host, caller, request.mem_flags, domain)
    if placement is None or request.extent_order > max_order(caller):
        return Result(start)
    return domain, placement


def _source(caller: Caller, domain: Domain, request: PopulatePhysmap | IncreaseReservation) -> Source:
    if isinstance(request, IncreaseReservation):
        return Source.INCREASE
    return Source.POPULATE if caller.domid == domain.domid else Source.BUILD


@lru_cache(maxsize=STEPS_KEPT)
def _steps(domid: int) -> tuple[Step, Step, Step, Step]:
    this = domain_resource(domid)
    return (
        step("take", reads=(DOMAINS, HEAP, CLAIMS, MEDIATION, this), writes=(HEAP, CLAIMS, this)),
        step("assign", reads=(this,), writes=(this, CLAIMS)),
        step("give back", reads=(MEDIATION,), writes=(HEAP,)),
        # A share between two others can change the frame behind a gfn shared by this one (S7)
        step("map", reads=(this, MEDIATION, SHARING), writes=(p2m_resource(domid),)),
    )
