"""Base types, units and fixed numbers of the ABI (Xen's public/xen.h and public/memory.h).

Every quantity of memory inside claimlab is a number of 4 KiB pages. KiB and bytes exist only where
Xen's own ABI has them (`max_memkb`, the paging pool) and at the command line.
"""

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

Pages: TypeAlias = int
"""A count of 4 KiB pages."""
Kib: TypeAlias = int
"""A count of KiB; 4 KiB are one page."""
DomId: TypeAlias = int
"""A domain's number, 16 bits; 0x7FF0 and above are reserved (rule 0.4)."""
Gfn: TypeAlias = int
"""A guest frame number: the guest's own name for one of its pages."""
Mfn: TypeAlias = int
"""A machine frame number: the host's name for a page of RAM."""
Order: TypeAlias = int
"""log2 of a number of contiguous, aligned pages: 0 is 4 KiB, 9 is 2 MiB, 18 is 1 GiB."""
NodeId: TypeAlias = int
"""A NUMA node's number."""
Commit: TypeAlias = int
"""The place of one atomic step in the host's total order, counted from 1."""
Seconds: TypeAlias = float
"""Emulated seconds. Never part of the accounting."""

U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
U64 = Annotated[int, Meta(ge=0)]  # msgpack itself carries nothing above 2**64 - 1
S32 = Annotated[int, Meta(ge=-0x8000_0000, le=0x7FFF_FFFF)]

Run = tuple[U64, U64]
"""(first frame, number of extents): extents that follow each other, 2^order frames apart."""
Runs = tuple[Run, ...]
"""A list of extents, run-length coded, in the order in which they are processed."""

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
KIB_PER_PAGE: Final = 4
PAGES_PER_MIB: Final = 256
PAGES_PER_GIB: Final = 262_144
MAX_ORDER: Final = 18
UINT_MAX: Final = 0xFFFF_FFFF
ULONG_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
MAX_NR_EXTENTS: Final = UINT_MAX >> 6
"""Rule A2: the command word keeps 6 bits for the sub-op, so 67,108,863 extents are the most."""

DOMID_DOM0: Final = 0
DOMID_FIRST_RESERVED: Final = 0x7FF0
DOMID_SELF: Final = 0x7FF0
DOMID_IO: Final = 0x7FF1
DOMID_XEN: Final = 0x7FF2
DOMID_COW: Final = 0x7FF3
DOMID_INVALID: Final = 0x7FF4
DOMID_ANY: Final = 0x7FF5
DOMID_IDLE: Final = 0x7FFF

VIRQ_DOM_EXC: Final = 3
"""Global, to dom0: a domain died or changed state (rule 0.5)."""
VIRQ_ENOMEM: Final = 12
"""Global: host memory is low (rule A27)."""


def runs_length(runs: Runs) -> int:
    """Number of extents in `runs`."""
    if len(runs) == 1:  # nearly always
        return runs[0][1]
    return sum(count for _, count in runs)


def kib_to_pages(kib: Kib) -> Pages:
    """Whole pages in `kib`, as XEN_DOMCTL_max_mem rounds them (down; rule A15)."""
    return kib >> 2


def pages_to_kib(pages: Pages) -> Kib:
    """KiB in `pages`."""
    return pages * KIB_PER_PAGE
