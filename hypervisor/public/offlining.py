"""Taking page frames out of service: XEN_SYSCTL_page_offline_op (public/sysctl.h).

A free frame leaves the heap at once, an allocated one when it is freed. Privilege: the control domain only.
"""

from typing import Final

from msgspec import Struct

from hypervisor.public.domctl import SYSCTL
from hypervisor.public.units import U32, Mfn

PAGE_OFFLINE: Final = 1
PAGE_ONLINE: Final = 2
QUERY_PAGE_OFFLINE: Final = 3

MOST_FRAMES: Final = 1 << 16
"""Frames one call may name; beyond, the array of statuses cannot be allocated (ENOMEM)."""

PG_OFFLINE_INVALID: Final = 1 << 0
"""Status of a frame that the call did not come to."""
PG_OFFLINE_OFFLINED: Final = 1 << 1
PG_OFFLINE_PENDING: Final = 1 << 2
PG_OFFLINE_FAILED: Final = 1 << 3
PG_OFFLINE_XENPAGE: Final = 1 << 8
PG_OFFLINE_ANONYMOUS: Final = 1 << 10
PG_OFFLINE_OWNED: Final = 1 << 12
PG_OFFLINE_OWNER_SHIFT: Final = 16

PG_ONLINE_ONLINED: Final = PG_OFFLINE_OFFLINED

PG_OFFLINE_STATUS_OFFLINED: Final = 1 << 1
PG_OFFLINE_STATUS_OFFLINE_PENDING: Final = 1 << 3


class PageOfflineOp(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SYSCTL | 14):
    """XEN_SYSCTL_page_offline_op: offline, online or query the frames `start` to `end` (C28, N7, W9).

    Answers 0; EINVAL for an unknown command, an empty range or a frame that is no RAM; EPERM for a frame of
    Xen's own image; ENOMEM for more than 65,536 frames. It stops at the first error; what was done stays
    done, and is told in the value, `OfflineStatus`.
    """

    cmd: U32  # in: PAGE_OFFLINE, PAGE_ONLINE or QUERY_PAGE_OFFLINE
    start: U32  # in: mfn
    end: U32  # in: mfn, the last one


class OfflineStatus(Struct, frozen=True, array_like=True, tag=41):
    """Value of page_offline_op: of each frame PG_OFFLINE_* (offline, online), PG_OFFLINE_STATUS_* (query)."""

    status: tuple[int, ...]


OfflineSysctl = PageOfflineOp
OfflineValue = OfflineStatus


def offline_frame(mfn: Mfn) -> PageOfflineOp:
    """The request that takes one frame out of service."""
    return PageOfflineOp(PAGE_OFFLINE, mfn, mfn)
