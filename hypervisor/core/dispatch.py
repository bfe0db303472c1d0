"""Which function carries out which request. A request without a handler fails the type check, or a test."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, assert_never, get_args

from hypervisor.core.access import read_page, write_page
from hypervisor.core.claim_sets import claim_memory
from hypervisor.core.counterfactual import counterfactual
from hypervisor.core.decrease import decrease_reservation
from hypervisor.core.destroy import destroy_domain
from hypervisor.core.exchange import memory_exchange
from hypervisor.core.foreign import map_foreign, unmap_foreign
from hypervisor.core.host import Host
from hypervisor.core.information import (
    current_reservation,
    get_domain_info,
    get_domain_info_list,
    maximum_gpfn,
    maximum_ram_page,
    maximum_reservation,
    physinfo,
)
from hypervisor.core.lifecycle import create_domain, pause_domain, unpause_domain
from hypervisor.core.limits import claim_pages, max_mem, set_paging_mempool_size
from hypervisor.core.numa import numainfo, set_node_affinity, set_vnuma_info
from hypervisor.core.offlining import page_offline_op
from hypervisor.core.pod.target import get_pod_target, set_pod_target
from hypervisor.core.populate import increase_reservation, populate_physmap
from hypervisor.core.sharing.operations import (
    mem_sharing_control,
    sharing_figures,
    sharing_op,
)
from hypervisor.core.sharing.ring import sharing_ring
from hypervisor.core.steps import Caller, Steps
from hypervisor.core.store_operations import store_operation
from hypervisor.core.tmem.commands import tmem_op
from hypervisor.core.tmem.control import tmem_control
from hypervisor.public.access import AccessOp, ReadPage, WritePage
from hypervisor.public.counterfactual import Counterfactual
from hypervisor.public.domctl import (
    CreateDomain,
    DestroyDomain,
    Domctl,
    ForeignOp,
    GetDomainInfo,
    GetDomainInfoList,
    MapForeign,
    MaxMem,
    PauseDomain,
    Physinfo,
    SetPagingMempoolSize,
    Sysctl,
    UnmapForeign,
    UnpauseDomain,
)
from hypervisor.public.memory import (
    ClaimPages,
    CurrentReservation,
    DecreaseReservation,
    IncreaseReservation,
    MaximumGpfn,
    MaximumRamPage,
    MaximumReservation,
    MemoryExchange,
    MemoryOp,
    PopulatePhysmap,
)
from hypervisor.public.numa import (
    ClaimMemory,
    NumaDomctl,
    Numainfo,
    SetNodeAffinity,
    SetVnumaInfo,
)
from hypervisor.public.offlining import OfflineSysctl, PageOfflineOp
from hypervisor.public.pod import GetPodTarget, PodOp, SetPodTarget
from hypervisor.public.requests import Request
from hypervisor.public.sharing import (
    GetSharingFreedPages,
    GetSharingSharedPages,
    MemSharingControl,
    SharingAudit,
    SharingOp,
    SharingRing,
)
from hypervisor.public.tmem import (
    TmemControl,
    TmemOp,
)
from hypervisor.public.xenstore import StoreOp


def begin(host: Host, caller: Caller, request: Request) -> Steps:
    """The request as a resumable sequence of steps, none of them done yet."""
    return _GROUP_OF[type(request)](host, caller, request)


def _memory_op(host: Host, caller: Caller, request: MemoryOp) -> Steps:
    match request:
        case PopulatePhysmap():
            return populate_physmap(host, caller, request)
        case IncreaseReservation():
            return increase_reservation(host, caller, request)
        case DecreaseReservation():
            return decrease_reservation(host, caller, request)
        case MemoryExchange():
            return memory_exchange(host, caller, request)
        case ClaimPages():
            return claim_pages(host, caller, request)
        case CurrentReservation():
            return current_reservation(host, caller, request)
        case MaximumReservation():
            return maximum_reservation(host, caller, request)
        case MaximumRamPage():
            return maximum_ram_page(host, caller, request)
        case MaximumGpfn():
            return maximum_gpfn(host, caller, request)
        case _:
            assert_never(request)


def _domctl(host: Host, caller: Caller, request: Domctl) -> Steps:
    match request:
        case CreateDomain():
            return create_domain(host, caller, request)
        case DestroyDomain():
            return destroy_domain(host, caller, request)
        case PauseDomain():
            return pause_domain(host, caller, request)
        case UnpauseDomain():
            return unpause_domain(host, caller, request)
        case GetDomainInfo():
            return get_domain_info(host, caller, request)
        case MaxMem():
            return max_mem(host, caller, request)
        case SetPagingMempoolSize():
            return set_paging_mempool_size(host, caller, request)
        case _:
            assert_never(request)


def _numa_domctl(host: Host, caller: Caller, request: NumaDomctl) -> Steps:
    match request:
        case ClaimMemory():
            return claim_memory(host, caller, request)
        case SetNodeAffinity():
            return set_node_affinity(host, caller, request)
        case SetVnumaInfo():
            return set_vnuma_info(host, caller, request)
        case _:
            assert_never(request)


def _on_demand(host: Host, caller: Caller, request: AccessOp | PodOp) -> Steps:
    match request:
        case ReadPage():
            return read_page(host, caller, request)
        case WritePage():
            return write_page(host, caller, request)
        case SetPodTarget():
            return set_pod_target(host, caller, request)
        case GetPodTarget():
            return get_pod_target(host, caller, request)
        case _:
            assert_never(request)


def _sysctl(host: Host, caller: Caller, request: Sysctl | Numainfo | OfflineSysctl) -> Steps:
    match request:
        case Physinfo():
            return physinfo(host, caller, request)
        case GetDomainInfoList():
            return get_domain_info_list(host, caller, request)
        case Numainfo():
            return numainfo(host, caller, request)
        case PageOfflineOp():
            return page_offline_op(host, caller, request)
        case _:
            assert_never(request)


def _sharing(host: Host, caller: Caller, request: SharingOp) -> Steps:
    match request:
        case GetSharingFreedPages() | GetSharingSharedPages() | SharingAudit():
            return sharing_figures(host, request)
        case MemSharingControl():
            return mem_sharing_control(host, caller, request)
        case SharingRing():
            return sharing_ring(host, caller, request)
        case _:
            return sharing_op(host, caller, request)


def _foreign(host: Host, caller: Caller, request: ForeignOp) -> Steps:
    match request:
        case MapForeign():
            return map_foreign(host, caller, request)
        case UnmapForeign():
            return unmap_foreign(host, caller, request)
        case _:
            assert_never(request)


Handler = Callable[[Host, Caller, Any], Steps]

_GROUPS: Final[tuple[tuple[Any, Handler], ...]] = (
    (MemoryOp, _memory_op),
    (Domctl, _domctl),
    (NumaDomctl, _numa_domctl),
    (Sysctl, _sysctl),
    (Numainfo, _sysctl),
    (OfflineSysctl, _sysctl),
    (ForeignOp, _foreign),
    (TmemOp, tmem_op),
    (TmemControl, tmem_control),
    (SharingOp, _sharing),
    (PodOp, _on_demand),
    (AccessOp, _on_demand),
    (StoreOp, store_operation),
    (Counterfactual, counterfactual),
)


def _by_class() -> Mapping[type, Handler]:
    """One look-up instead of asking after fifty classes in turn; that none is missing is a test's to say."""
    table: dict[type, Handler] = {}
    for group, handler in _GROUPS:
        table.update(dict.fromkeys(_classes(group), handler))
    return MappingProxyType(table)


def _classes(group: Any) -> tuple[type, ...]:
    return get_args(group) or (group,)


_GROUP_OF: Final = _by_class()
