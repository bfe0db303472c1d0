"""What a toolstack left behind: claims, clamps, freezes, half-built domains (invariant I10)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping

from hypervisor.public.domctl import DomainInfo, PhysicalInfo, Physinfo
from hypervisor.public.tmem import CLIENT_FROZEN, TMEM_GET_CLIENT_INFO, TmemClientInfo, TmemControl
from hypervisor.public.units import DomId, Pages
from hypervisor.public.world import World
from launch.cluster.control import list_domains

Identified = tuple[DomId, int]
"""(domid, incarnation)."""


async def find_leftovers(
    world: World, lifetime_max: Mapping[Identified, Pages], running: Collection[Identified]
) -> tuple[str, ...]:
    """One line each. `lifetime_max`: what max_pages of a domain must be again; `running`: who may exist."""
    domains = await list_domains(world)
    reply = await world.hypercall(Physinfo())
    host = reply.value
    found = [line for domain in domains for line in _of_domain(domain, lifetime_max, running)]
    owned = sum(domain.outstanding_pages for domain in domains)
    if isinstance(host, PhysicalInfo) and host.outstanding_pages != owned:
        found.append(f"{host.outstanding_pages - owned} pages claimed by no domain")
    return (*found, *[line async for line in _frozen(world, domains)])


async def _frozen(world: World, domains: Collection[DomainInfo]) -> AsyncIterator[str]:
    """Domains whose puts to tmem are still refused."""
    for domain in domains:
        reply = await world.hypercall(TmemControl(TMEM_GET_CLIENT_INFO, domain.domid))
        if not isinstance(reply.value, TmemClientInfo):
            return  # ENOSYS: this release has no tmem
        if reply.value.flags & CLIENT_FROZEN:
            yield f"domain {domain.domid}: its tmem is frozen"


def _of_domain(
    domain: DomainInfo, lifetime_max: Mapping[Identified, Pages], running: Collection[Identified]
) -> Iterator[str]:
    name = f"domain {domain.domid}"
    key = (domain.domid, domain.incarnation)
    if key not in running:
        yield f"{name}: half-built, {domain.tot_pages} pages"
    if domain.outstanding_pages:
        yield f"{name}: a claim of {domain.outstanding_pages} pages"
    wanted = lifetime_max.get(key)
    if wanted is not None and domain.max_pages != wanted:
        yield f"{name}: max_pages {domain.max_pages} instead of {wanted}"
