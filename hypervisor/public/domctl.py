"""Control operations of a toolstack: domctl 36, sysctl 35, foreign mappings (public/domctl.h, sysctl.h).

Privilege: the control domain only; anyone else gets EPERM. domctls exclude each other on one global
lock, sysctls on another (rule P9).
"""

from typing import Final

from msgspec import Struct

from hypervisor.public.units import DOMID_ANY, U16, U32, U64, Commit, DomId, NodeId, Pages, Runs

DOMCTL: Final = 36 << 8
SYSCTL: Final = 35 << 8
MMU_UPDATE: Final = 1 << 8

CDF_HVM: Final = 1
"""createdomain flag: an HVM/PVH domain; without it, PV."""
CDF_HAP: Final = 2
"""createdomain flag: hardware assisted paging, needed for the HAP paging pool."""

DOMINF_DYING: Final = 1
DOMINF_HVM: Final = 2
DOMINF_SHUTDOWN: Final = 4
DOMINF_PAUSED: Final = 8
DOMINF_BLOCKED: Final = 16
DOMINF_RUNNING: Final = 32
DOMINF_HAP: Final = 256
DOMINF_SHUTDOWN_SHIFT: Final = 16
"""With DOMINF_SHUTDOWN: where in the flags the reason stands."""
SHUTDOWN_CRASH: Final = 3


class CreateDomain(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 1):
    """XEN_DOMCTL_createdomain: a paused domain with tot_pages 0 and max_pages 0 (A15, A31).

    The structures of the domain come from unclaimed memory: ENOMEM when there is too little. The
    value is `Created`. `domid` 0 or a reserved id asks for a free one; in 4.22 domid 0 asks for
    domain 0 (EEXIST) and DOMID_ANY for a free one.
    """

    domid: U16 = DOMID_ANY  # in: wanted id
    flags: U32 = 0  # in: CDF_*
    max_vcpus: U32 = 1  # in


class DestroyDomain(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 2):
    """XEN_DOMCTL_destroydomain: kill; the claim goes first, the pages in slices (C30, C31, P10).

    Answers 0 when the domain is dead. 4.3 answers EAGAIN after each slice and the caller loops;
    newer releases continue by themselves.
    """

    domid: U16  # in


class PauseDomain(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 3):
    """XEN_DOMCTL_pausedomain: one more reason not to run."""

    domid: U16  # in


class UnpauseDomain(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 4):
    """XEN_DOMCTL_unpausedomain: takes one reason away; EINVAL when the domain is not paused."""

    domid: U16  # in


class GetDomainInfo(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 5):
    """XEN_DOMCTL_getdomaininfo: one domain's counters; the value is `DomainInfo` (C35)."""

    domid: U16  # in


class MaxMem(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 11):
    """XEN_DOMCTL_max_mem: sets max_pages, also below tot_pages; takes nothing away (A15)."""

    domid: U16  # in
    max_memkb: U64  # in, KiB


class SetPagingMempoolSize(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 86):
    """XEN_DOMCTL_set_paging_mempool_size: resize the HAP pool from unclaimed memory (A31).

    ENOMEM keeps what it got; EINVAL for a size that is no whole page; EOPNOTSUPP for a PV domain.
    """

    domid: U16  # in
    size: U64  # in, bytes


class Physinfo(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SYSCTL | 3):
    """XEN_SYSCTL_physinfo: host totals, free and outstanding read under one lock (C34)."""


class GetDomainInfoList(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SYSCTL | 6):
    """XEN_SYSCTL_getdomaininfolist: domains visited one by one, no snapshot (C36)."""

    first_domain: U16 = 0  # in
    max_domains: U32 = 1024  # in


class MapForeign(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MMU_UPDATE | 0):
    """Map single pages of another domain: each takes a page reference (A11, A13).

    A referenced page outlives its domain's destruction and keeps the dying domain. Answers 0, or
    EINVAL when a frame is not the domain's (nothing is mapped then), ESRCH for an unknown domain.
    """

    domid: U16  # in
    frames: Runs  # in: order-0 gfns (HVM) or mfns (PV)


class UnmapForeign(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MMU_UPDATE | 1):
    """Drop references taken by `MapForeign`. `frames` is what that call answered (mfns)."""

    domid: U16  # in
    frames: Runs  # in: mfns


Domctl = (
    CreateDomain | DestroyDomain | PauseDomain | UnpauseDomain | GetDomainInfo | MaxMem | SetPagingMempoolSize
)
Sysctl = Physinfo | GetDomainInfoList
ForeignOp = MapForeign | UnmapForeign


class Created(Struct, frozen=True, array_like=True, tag=1):
    """Value of createdomain."""

    domid: DomId
    incarnation: int  # tells this domain from an earlier one with the same domid
    secret: bytes = b""  # proves the right to speak as that domain; filled in by the session


class DomainInfo(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """Value of getdomaininfo (C35). No lock is taken: fields may be of different moments in Xen."""

    domid: DomId
    flags: int  # DOMINF_*
    tot_pages: Pages
    max_pages: Pages
    outstanding_pages: Pages
    shr_pages: Pages
    paged_pages: Pages
    nr_online_vcpus: int
    incarnation: int
    commit: Commit  # the step that read this domain


class DomainInfoList(Struct, frozen=True, array_like=True, tag=3):
    """Value of getdomaininfolist, by ascending domid."""

    domains: tuple[DomainInfo, ...]


class PhysicalInfo(Struct, frozen=True, array_like=True, tag=4):
    """Value of physinfo (C34), pages. `free_pages` is not reduced by claims."""

    total_pages: Pages
    free_pages: Pages
    scrub_pages: Pages
    outstanding_pages: Pages
    nr_nodes: NodeId
    max_mfn: int


class Frames(Struct, frozen=True, array_like=True, tag=5):
    """Frames handed out, as runs of extents of the request's order (mfns)."""

    extents: Runs


class Exchanged(Struct, frozen=True, array_like=True, tag=6):
    """Value of memory_exchange: input extents exchanged so far, and the new mfns."""

    nr_exchanged: int
    extents: Runs


HypercallValue = Created | DomainInfo | DomainInfoList | PhysicalInfo | Frames | Exchanged
