"""Page sharing with copy-on-write: memory_op 22, and the domctls that go with it (public/memory.h, domctl.h).

The tag of a sharing operation is (memory_op 22) << 8 | its number in 4.17 (S1). nominate_gref and the debug
operations by grant reference need grant tables, fork and fork_reset a hypervisor's fork: neither is emulated,
so those numbers answer ENOSYS (`SharingOther`).
"""

from typing import Final

from msgspec import Struct

from hypervisor.public.domctl import DOMCTL
from hypervisor.public.memory import MEMORY_OP
from hypervisor.public.units import U16, U32, U64, Commit, DomId, Gfn, Mfn

SHARING_OP: Final = (MEMORY_OP | 22) << 8

S_HANDLE_INVALID: Final = -10
"""XENMEM_SHARING_OP_S_HANDLE_INVALID: the source is not shared under this handle (S7)."""
C_HANDLE_INVALID: Final = -9
"""XENMEM_SHARING_OP_C_HANDLE_INVALID: the client is not, or a hole was wanted and it is none (S7, S8)."""

RING_ENABLE: Final = 0
RING_DISABLE: Final = 1
RING_RESUME: Final = 2


class SharingNominateGfn(
    Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SHARING_OP | 0
):
    """XENMEM_sharing_op_nominate_gfn: a page becomes dom_cow's, and sharable (S5, S6).

    Answers 0 with the value `SharingHandle`, also for a page shared already; EINVAL (hole, or the domain is
    dying), E2BIG (mapped by somebody else), EBUSY (killed meanwhile, 4.17 on), ENODEV (no HAP, or sharing not
    enabled), ESRCH, EPERM (not the control domain, or its own page).
    """

    domid: U16  # in
    gfn: U64  # in


class SharingShare(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SHARING_OP | 2):
    """XENMEM_sharing_op_share: everybody who shares the client page gets the source page instead (S7).

    Nobody compares contents: that is the caller's business. 0, S_HANDLE_INVALID, C_HANDLE_INVALID.
    """

    source_domid: U16  # in
    source_gfn: U64  # in
    source_handle: U64  # in: as nominate answered
    client_domid: U16  # in
    client_gfn: U64  # in
    client_handle: U64  # in


class SharingDebugGfn(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SHARING_OP | 3):
    """XENMEM_sharing_op_debug_gfn: how many gfns share this one's page; EINVAL if none does."""

    domid: U16  # in
    gfn: U64  # in


class SharingDebugMfn(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SHARING_OP | 4):
    """XENMEM_sharing_op_debug_mfn: as debug_gfn, by machine frame."""

    domid: U16  # in: any domain that shares
    mfn: U64  # in


class SharingAddPhysmap(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SHARING_OP | 6):
    """XENMEM_sharing_op_add_physmap: a hole of the client becomes one more reference to a shared page (S8).

    Takes no page and moves no counter but shr_pages. 0, S_HANDLE_INVALID, C_HANDLE_INVALID (no hole).
    """

    source_domid: U16  # in
    source_gfn: U64  # in
    source_handle: U64  # in
    client_domid: U16  # in
    client_gfn: U64  # in: must be a hole


class SharingAudit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SHARING_OP | 7):
    """XENMEM_sharing_op_audit: the number of inconsistencies found, 0 in a sound host."""


class SharingRangeShare(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SHARING_OP | 8):
    """XENMEM_sharing_op_range_share: share two paused domains gfn by gfn, since 4.8 (f3356e1d4d).

    What cannot be shared is left out without a word. 0; EINVAL for a domain that runs, or a range beyond
    the highest gfn of either; before 4.8 ENOSYS.
    """

    source_domid: U16  # in
    client_domid: U16  # in
    first_gfn: U64  # in
    last_gfn: U64  # in: included


class SharingOther(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SHARING_OP | 0xFF):
    """Any other number: only its refusal is emulated (S1)."""

    domid: U16  # in
    op: U32  # in


class GetSharingFreedPages(
    Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 18
):
    """XENMEM_get_sharing_freed_pages: frames that sharing avoids, nr_saved_mfns; anyone may ask (S4)."""


class GetSharingSharedPages(
    Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 19
):
    """XENMEM_get_sharing_shared_pages: frames in use as shared, nr_shared_mfns; anyone may ask (S4)."""


class MemSharingControl(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 58):
    """XEN_DOMCTL_mem_sharing_op control: let a domain's pages be shared, or no longer (S1).

    0, ENODEV for a domain without HAP. Pages shared already stay shared. Privilege: the control domain.
    """

    domid: U16  # in
    enable: bool  # in


class SharingRing(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 56):
    """XEN_DOMCTL_mem_event_op (vm_event_op) on a domain's sharing ring (S10).

    ENABLE makes the caller the helper that hears `SharingEvent`: EBUSY if there is one already. RESUME
    answers everything on the ring: the paused vcpus retry (4.3 has it as sharing_op 3). DISABLE lets them
    retry without a helper. EINVAL without a ring or for another number, ENODEV without HAP.
    """

    domid: U16  # in
    op: U32  # in: RING_*


class SharingHandle(Struct, frozen=True, array_like=True, tag=50):
    """Value of nominate_gfn: names one shared page until it is shared away or made private."""

    handle: int


class SharingEvent(Struct, frozen=True, array_like=True, tag=3):
    """A request on the sharing ring: a page could not be made private for lack of memory (S10)."""

    domid: DomId
    gfn: Gfn
    vcpu_paused: bool
    """The domain itself wrote: its vcpu waits for `RING_RESUME`. False: told for information only."""
    commit: Commit


class SharedFrameInfo(Struct, frozen=True, array_like=True, tag=51):
    """Value of the debug operations."""

    mfn: Mfn
    handle: int


SharingOp = (
    SharingNominateGfn
    | SharingShare
    | SharingDebugGfn
    | SharingDebugMfn
    | SharingAddPhysmap
    | SharingAudit
    | SharingRangeShare
    | SharingOther
    | GetSharingFreedPages
    | GetSharingSharedPages
    | MemSharingControl
    | SharingRing
)
SharingValue = SharingHandle | SharedFrameInfo
