"""Short names for what the tests of populate on demand ask of a small host."""

from __future__ import annotations

from hypervisor.core.steps import Caller
from hypervisor.public.memory import MEMF_POPULATE_ON_DEMAND, PopulatePhysmap
from hypervisor.public.pod import GetPodTarget, PodTarget, SetPodTarget
from hypervisor.public.units import Gfn, Order, Pages
from tests.core.small_host import SmallHost

START: Gfn = 512


def mark(host: SmallHost, who: Caller, gfn: Gfn, count: int, order: Order = 0) -> int:
    """Extents marked by the control domain."""
    return host.ret(PopulatePhysmap(who.domid, ((gfn, count),), order, MEMF_POPULATE_ON_DEMAND))


def target(host: SmallHost, who: Caller, pages: Pages) -> tuple[int, PodTarget]:
    """set_pod_target: what it answers, and the figures, which must be those get_pod_target tells."""
    reply = host.call(SetPodTarget(who.domid, pages))
    assert isinstance(reply.value, PodTarget)
    assert host.call(GetPodTarget(who.domid)).value == reply.value
    return reply.ret, reply.value


def figures(host: SmallHost, who: Caller) -> tuple[Pages, Pages, Pages]:
    """(tot_pages, pages in the cache, entries)."""
    domain = host.domain(who.domid)
    return domain.tot_pages, domain.pod.count, domain.pod.entries
