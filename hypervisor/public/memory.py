"""XENMEM_* requests: hypercall 12, memory_op (Xen's public/memory.h).

The tag of each request is (hypercall number << 8) | sub-op, so Xen's own numbers stay readable on
the wire. Field comments give direction, unit, privilege and the first release that looks at them.
"""

from typing import Final

from msgspec import Struct

from hypervisor.public.units import U16, U32, U64, NodeId, Runs, runs_length

MEMORY_OP: Final = 12 << 8

MEMF_ADDRESS_BITS_MASK: Final = 0xFF
"""mem_flags bits 0-7: the extent must lie under 2^bits bytes; 0 is no limit (rule A1)."""
MEMF_NODE_SHIFT: Final = 8
MEMF_NODE_MASK: Final = 0xFF << MEMF_NODE_SHIFT
"""mem_flags bits 8-15: node + 1 (rule A1)."""
MEMF_POPULATE_ON_DEMAND: Final = 1 << 16
MEMF_EXACT_NODE: Final = 1 << 17
MEMF_VNODE: Final = 1 << 18


def memf_exact_node(node: NodeId) -> int:
    """mem_flags that ask for pages of `node` and no other (XENMEMF_exact_node)."""
    return ((node + 1) << MEMF_NODE_SHIFT) | MEMF_EXACT_NODE


class PopulatePhysmap(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 6):
    """XENMEM_populate_physmap: take extents from the heap and map them at the given gfns (A3, A8).

    Privilege: the domain itself or the control domain (A4). Answers the number of extents done,
    counted from 0 and `start_extent` included, never an errno for lack of memory. For a PV domain
    the value is `Frames`, the mfn of every extent done.
    """

    domid: U16  # in: the domain, or DOMID_SELF
    extents: Runs  # in: gfns, runs of extents
    extent_order: U32 = 0  # in
    mem_flags: U32 = 0  # in
    start_extent: U64 = 0  # in: extents done already; a guest passes 0 (A2)

    @property
    def nr_extents(self) -> int:
        """Number of extents in the list."""
        return runs_length(self.extents)


class IncreaseReservation(
    Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 0
):
    """XENMEM_increase_reservation: take extents without mapping them (A11).

    Privilege as populate. Answers the number of extents done; the value is `Frames`.
    """

    domid: U16  # in
    nr_extents: U64  # in
    extent_order: U32 = 0  # in
    mem_flags: U32 = 0  # in
    start_extent: U64 = 0  # in


class DecreaseReservation(
    Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 1
):
    """XENMEM_decrease_reservation: give extents back (A11).

    Frames are gfns for an HVM domain and mfns for a PV domain, as in Xen. Privilege as populate.
    Answers the number of extents done; a hole or a foreign frame stops it there.
    """

    domid: U16  # in
    extents: Runs  # in: gfns (HVM) or mfns (PV)
    extent_order: U32 = 0  # in
    mem_flags: U32 = 0  # in: ignored, as in Xen
    start_extent: U64 = 0  # in

    @property
    def nr_extents(self) -> int:
        """Number of extents in the list."""
        return runs_length(self.extents)


class MemoryExchange(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 11):
    """XENMEM_exchange: swap extents for extents of another order, tot_pages unchanged (A17).

    Privilege: the domain itself or the control domain. Answers 0 or a negative errno; the value is
    `Exchanged` either way, because progress made before a failure stays.
    """

    domid: U16  # in: owner of the input
    in_extents: Runs  # in: gfns (HVM) or mfns (PV)
    in_extent_order: U32  # in
    out_domid: U16  # in: must equal domid
    out_extents: Runs  # in: gfns at which the new extents appear (HVM); their number matters for PV
    out_extent_order: U32  # in
    mem_flags: U32 = 0  # in: of the output
    nr_exchanged: U64 = 0  # in: input extents exchanged already, 0 for a first call


class ClaimPages(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 24):
    """XENMEM_claim_pages: promise memory to a domain, or cancel the promise (C1-C16, since 4.3).

    `nr_extents` is the wanted TOTAL tot_pages, not an increment; 0 cancels. Privilege: the control
    domain. Answers 0, EINVAL, ENOMEM, EPERM (after EINVAL for an unknown domid), EOPNOTSUPP (4.22).
    """

    domid: U16  # in: a real id; DOMID_SELF is EINVAL (C7)
    nr_extents: U64  # in, pages
    extent_order: U32 = 0  # in: must be 0 (C5)
    mem_flags: U32 = 0  # in: must be 0 (C6)
    extent_start: U64 = 0  # in: the guest handle, must be null (C4)
    start_extent: U64 = 0  # in: must be 0 except in 4.3, which does not look (C2)


class CurrentReservation(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 3):
    """XENMEM_current_reservation: answers tot_pages, ESRCH for an unknown domain (A16)."""

    domid: U16  # in


class MaximumReservation(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 4):
    """XENMEM_maximum_reservation: answers max_pages, ESRCH for an unknown domain (A16)."""

    domid: U16  # in


class MaximumRamPage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 2):
    """XENMEM_maximum_ram_page: answers the host's highest page number, never fails (A16)."""


class MaximumGpfn(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=MEMORY_OP | 14):
    """XENMEM_maximum_gpfn: answers the highest gfn in use, ESRCH for an unknown domain (A16)."""

    domid: U16  # in


MemoryOp = (
    PopulatePhysmap
    | IncreaseReservation
    | DecreaseReservation
    | MemoryExchange
    | ClaimPages
    | CurrentReservation
    | MaximumReservation
    | MaximumRamPage
    | MaximumGpfn
)
