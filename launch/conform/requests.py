"""Operations of a recording that are one hypercall whatever the domain holds."""

from typing import Final

from hypervisor.public.domctl import DestroyDomain, MaxMem, SetPagingMempoolSize
from hypervisor.public.memory import (
    ClaimPages,
    CurrentReservation,
    DecreaseReservation,
    IncreaseReservation,
    MaximumReservation,
    PopulatePhysmap,
)
from hypervisor.public.requests import Request
from launch.conform.frames import NO_FRAME
from launch.conform.recording import Line

_MIB: Final = 1 << 20
_DECREASE, _MAXIMUM, _POPULATE = 1, 4, 6  # XENMEM_* sub-ops


def request_of(line: Line) -> Request | None:
    """The hypercall that the line stands for, None when it depends on extents held before."""
    match line.op:
        case "destroy":
            return DestroyDomain(line.domid)
        case "maxmem" | "maxpages":
            return MaxMem(line.domid, line.kb)
        case "claim":
            return ClaimPages(line.domid, line.pages)
        case "mempool":
            return SetPagingMempoolSize(line.domid, line.mb * _MIB)
        case "curres":
            return CurrentReservation(line.domid)
        case "maxres":
            return MaximumReservation(line.domid)
        case "raw_query":
            query = MaximumReservation if line.cmd == _MAXIMUM else CurrentReservation
            return query(line.domid)
        case "raw_claim" | "raw_mem":
            return _raw_claim(line) if line.op == "raw_claim" else _raw_mem(line)
        case _:
            return None


def _raw_claim(line: Line) -> ClaimPages:
    handle = 0 if line.extent_start_null else 1
    return ClaimPages(
        line.domid, line.nr_extents, line.extent_order, line.mem_flags, handle, line.start_extent
    )


def _raw_mem(line: Line) -> PopulatePhysmap | IncreaseReservation | DecreaseReservation:
    order, flags, start = line.extent_order, line.mem_flags, line.start_extent
    if line.cmd == _DECREASE:  # written by hand, with frame numbers that are nobody's
        return DecreaseReservation(line.domid, ((NO_FRAME, line.nr_extents),), order, flags, start)
    if line.cmd == _POPULATE:
        return PopulatePhysmap(line.domid, ((0, line.nr_extents),), order, flags, start)
    return IncreaseReservation(line.domid, line.nr_extents, order, flags, start)
