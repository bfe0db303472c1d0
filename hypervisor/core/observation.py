"""A host as it stands between two steps, for observers: reads everything, changes nothing, is no step."""

from collections.abc import Mapping

from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.information import domain_info
from hypervisor.core.sources import Refusal, refused_allocations
from hypervisor.public.observation import DomainSnapshot, NodeSnapshot, RefusedAllocations
from hypervisor.public.units import Pages


def observed_nodes(host: Host) -> tuple[NodeSnapshot, ...]:
    """Every node, by number."""
    heap, claims = host.heap, host.node_outstanding_claims
    return tuple(
        NodeSnapshot(node, heap.node_pages(node), heap.node_avail(node), claims.get(node, 0))
        for node in range(heap.node_count)
    )


def observed_domain(host: Host, domain: Domain, name: str, operations: int) -> DomainSnapshot:
    """One domain; flags as getdomaininfo would answer them now (C35)."""
    info = domain_info(host, domain)
    return DomainSnapshot(
        domid=domain.domid,
        incarnation=domain.incarnation,
        name=name,
        flags=info.flags,
        is_dying=domain.is_dying != Dying.ALIVE,
        tot_pages=domain.tot_pages,
        max_pages=domain.max_pages,
        outstanding_pages=domain.outstanding_pages,
        shr_pages=domain.shr_pages,
        xen_pages=domain.xen_pages,
        vcpus=domain.max_vcpus,
        operations=operations,
    )


def observed_refusals(refused: Mapping[Refusal, int]) -> tuple[RefusedAllocations, ...]:
    """By domain, source and reason."""
    return tuple(
        RefusedAllocations(
            int(one["domid"]),
            str(one["source"]),
            str(one["reason"]),
            int(one["times"]),
            int(one["pages"]),
        )
        for one in refused_allocations(refused)
    )


def observed_growth(host: Host) -> dict[str, Pages]:
    """Pages by which tot_pages grew, by source."""
    return {source.value: pages for source, pages in host.growth.items()}


def tmem_pages(host: Host) -> Pages:
    """What eviction could give; 0 without tmem."""
    return 0 if host.tmem is None else host.tmem.freeable
