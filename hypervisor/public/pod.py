"""Populate on demand: an HVM guest that boots with less memory than it may have (A29, A30; public/memory.h).

The entries themselves are made by `PopulatePhysmap` with MEMF_POPULATE_ON_DEMAND (A9).
"""

from msgspec import Struct

from hypervisor.public.memory import MEMORY_OP
from hypervisor.public.units import U16, U64, DomId, Pages


class SetPodTarget(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 16):
    """XENMEM_set_pod_target: have the domain's cache hold what brings tot_pages to the target (A29).

    0, also where there is nothing to do; ENOMEM keeps what it got. The value is `PodTarget` either way.
    ESRCH, EPERM for anyone but the control domain, EINVAL for a domain without physmap.
    """

    domid: U16  # in
    target_pages: U64  # in, pages


class GetPodTarget(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 17):
    """XENMEM_get_pod_target: 0 with the value `PodTarget`; errors as for set_pod_target."""

    domid: U16  # in


class PodTarget(Struct, frozen=True, array_like=True, tag=54):
    """Value of both: pages."""

    domid: DomId
    tot_pages: Pages
    pod_cache_pages: Pages
    """Pages the domain has that stand behind no gfn yet; part of tot_pages."""
    pod_entries: Pages
    """Gfns that have no page yet."""


PodOp = SetPodTarget | GetPodTarget
PodValue = PodTarget
