"""populate_physmap with MEMF_POPULATE_ON_DEMAND: gfns are marked, no page is taken (A9)."""

from collections.abc import Iterator

from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.reservation import GFN_LIMIT, count_in_range, denied, may_target, placement_of
from hypervisor.core.steps import DOMAINS, Caller, Result, Steps, domain_resource, p2m_resource, step
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.units import DOMID_SELF, MAX_ORDER, Gfn, Order


def mark_populate_on_demand(
    host: Host, caller: Caller, request: PopulatePhysmap, gfns: Iterator[Gfn]
) -> Steps:
    """The number of extents marked. tot_pages stays; a PV domain's extents count without any effect (A9).

    Marking takes no page, so nothing of the rules bounds it: beyond REGIONS_LIMIT (1 TiB of guest memory) it
    stops short. In Xen the tables that hold the entries come from the domain's paging pool, and run out.
    """
    order, start = request.extent_order, request.start_extent
    domid = caller.domid if request.domid == DOMID_SELF else request.domid
    this = (domain_resource(domid), p2m_resource(domid))
    mark = step("mark", (DOMAINS, *this), this)
    yield mark
    if not count_in_range(request.nr_extents, start):
        return Result(start)
    domain = host.find_any(caller, request.domid)
    if domain is None:
        return Result(start)
    if not may_target(caller, domain):
        return Result(denied(host, start))
    if placement_of(host, caller, request.mem_flags) is None or order > MAX_ORDER:  # A5: for anyone
        return Result(start)
    if caller.domid == domain.domid and not host.release.pod_populate_on_self:
        return Result(start)
    done = start
    for gfn in gfns:
        if done > start:
            yield mark
        if domain.hvm and not _mark_extent(host, domain, gfn, order):
            break
        done += 1
    return Result(done)


def _mark_extent(host: Host, domain: Domain, gfn: Gfn, order: Order) -> bool:
    """guest_physmap_mark_populate_on_demand; False for a gfn with a page (EBUSY), beyond EPT or the bound."""
    p2m = domain.p2m
    if p2m is None or domain.is_dying or gfn + (1 << order) > GFN_LIMIT:
        return False
    if p2m.any_mapped(gfn, order):
        return False
    if not domain.pod.has_room(gfn, order):
        return False
    p2m.highest_gfn = max(p2m.highest_gfn, gfn + (1 << order) - 1)
    domain.pod.mark(gfn, order)
    return True
