"""Requests and what they answered, in words for a table."""

from __future__ import annotations

from hypervisor.public.domctl import (
    Created,
    DestroyDomain,
    DomainInfo,
    DomainInfoList,
    GetDomainInfo,
    MaxMem,
    PauseDomain,
    PhysicalInfo,
    SetPagingMempoolSize,
    UnpauseDomain,
)
from hypervisor.public.errors import errno_name
from hypervisor.public.memory import (
    ClaimPages,
    CurrentReservation,
    DecreaseReservation,
    IncreaseReservation,
    MaximumReservation,
    PopulatePhysmap,
)
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_SELF, PAGE_SIZE, DomId, kib_to_pages
from hypervisor.public.xenstore import StoreRead, StoreText, StoreWrite


def operation(request: Request, caller: DomId) -> str:
    """The request in a few words; sizes in pages."""
    match request:
        case PopulatePhysmap() | IncreaseReservation() | DecreaseReservation():
            verb = {"PopulatePhysmap": "populate", "IncreaseReservation": "increase"}
            extents = f"{request.nr_extents} x order {request.extent_order}"
            return f"{verb.get(type(request).__name__, 'decrease')} {_of(request.domid, caller)}: {extents}"
        case ClaimPages():
            wanted = f"claim {request.nr_extents}" if request.nr_extents else "cancel the claim"
            return f"{wanted}, {_of(request.domid, caller)}"
        case MaxMem():
            return f"max_mem {_of(request.domid, caller)}: {kib_to_pages(request.max_memkb)}"
        case SetPagingMempoolSize():
            return f"paging pool {_of(request.domid, caller)}: {request.size // PAGE_SIZE}"
        case DestroyDomain() | PauseDomain() | UnpauseDomain() | GetDomainInfo():
            return f"{type(request).__name__.lower()} {_of(request.domid, caller)}"
        case CurrentReservation() | MaximumReservation():
            return f"{type(request).__name__.lower()} {_of(request.domid, caller)}"
        case StoreRead() | StoreWrite():
            return f"{type(request).__name__.lower()[5:]} {request.path}"
        case _:
            return type(request).__name__.lower()


def _of(domid: DomId, caller: DomId) -> str:
    return f"domain {caller if domid == DOMID_SELF else domid}"


def answer(request: Request, reply: Reply) -> str:
    """What the caller saw."""
    if reply.ret < 0:
        return errno_name(reply.ret)
    match request:
        case PopulatePhysmap() | IncreaseReservation() | DecreaseReservation():
            return f"{reply.ret} of {request.nr_extents} done"
        case CurrentReservation() | MaximumReservation():
            return f"{reply.ret} pages"
        case _:
            return _value(reply)


def _value(reply: Reply) -> str:
    match reply.value:
        case PhysicalInfo():
            return f"free {reply.value.free_pages}, claimed {reply.value.outstanding_pages}"
        case DomainInfo():
            return _domain(reply.value)
        case DomainInfoList():
            return "; ".join(_domain(one) for one in reply.value.domains) or "no domain"
        case Created():
            return f"domain {reply.value.domid}"
        case StoreText():
            return repr(reply.value.value)
        case _:
            return "ok"


def _domain(info: DomainInfo) -> str:
    claimed = f", claim {info.outstanding_pages}" if info.outstanding_pages else ""
    return f"domain {info.domid}: tot {info.tot_pages}, max {info.max_pages}{claimed}"
