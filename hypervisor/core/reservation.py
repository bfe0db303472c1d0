"""What populate, increase and decrease share: argument checks and extent lists (A2-A7, A13 of 4.17)."""

from collections.abc import Iterator

from hypervisor.core.allocation import Placement
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.core.steps import Caller
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    MEMF_ADDRESS_BITS_MASK,
    MEMF_EXACT_NODE,
    MEMF_NODE_MASK,
    MEMF_NODE_SHIFT,
    MEMF_VNODE,
)
from hypervisor.public.numa import MAX_NUMNODES
from hypervisor.public.units import MAX_NR_EXTENTS, MAX_ORDER, PAGE_SHIFT, Gfn, Mfn, Order, Run, Runs

GUEST_MAX_ORDER: Order = 9
GFN_LIMIT: Gfn = 1 << 36
"""Four levels of EPT translate 48 bits of guest physical address."""


def max_order(caller: Caller) -> Order:
    """Largest extent this caller may ask for: domU 2 MiB, the control domain 1 GiB (A5)."""
    return MAX_ORDER if caller.privileged else GUEST_MAX_ORDER


def may_target(caller: Caller, domain: Domain) -> bool:
    """XSM_TARGET: oneself, or the control domain on anyone (A4)."""
    return caller.privileged or caller.domid == domain.domid


def count_in_range(nr_extents: int, start_extent: int) -> bool:
    """nr_extents within the command word and something left to do (A3)."""
    return nr_extents <= MAX_NR_EXTENTS and start_extent < nr_extents


def denied(host: Host, start_extent: int) -> int:
    """What a memory op on somebody else's domain answers (A4)."""
    return -Errno.EPERM if host.release.memory_op_privilege_errno else start_extent


def placement_of(
    host: Host, caller: Caller, mem_flags: int, domain: Domain | None = None
) -> Placement | None:
    """mem_flags as a placement; None when they stop the call with 0 extents done (A3, A7, A20).

    `domain` is the target where its virtual nodes may be meant: in populate and increase, not in exchange.
    """
    bits = mem_flags & MEMF_ADDRESS_BITS_MASK
    if bits and bits <= PAGE_SHIFT:
        return None
    below = 1 << (bits - PAGE_SHIFT) if bits else None
    if domain is not None and mem_flags & MEMF_VNODE and host.release.node_flags_need_privilege:
        return _virtual_placement(domain, mem_flags, below)
    encoded = (mem_flags & MEMF_NODE_MASK) >> MEMF_NODE_SHIFT
    node = encoded - 1 if encoded else None
    if node is None:
        return Placement(below=below)  # A20: exact without a node is dropped
    exact = bool(mem_flags & MEMF_EXACT_NODE)
    if host.release.node_flags_need_privilege:
        if not caller.privileged:
            # propagate_node: a guest's hint is ignored, its demand for a node ends the call
            return None if exact else Placement(below=below)
        if node >= MAX_NUMNODES:
            return None  # A3: a node that cannot be
    return Placement(node, exact, below)


def _virtual_placement(domain: Domain, mem_flags: int, below: Mfn | None) -> Placement | None:
    """The node bits name a virtual node, whoever calls; without a table they mean nothing (A3, A7)."""
    table = domain.vnode_to_pnode
    if not table:
        return Placement(below=below)
    # XENMEMF_get_node takes one off the bits and keeps eight of them, so that 0 is no node but 255
    vnode = (((mem_flags & MEMF_NODE_MASK) >> MEMF_NODE_SHIFT) - 1) & 0xFF
    if vnode >= len(table):
        return None
    node = table[vnode]
    if node is None:
        return Placement(below=below)
    return Placement(node, bool(mem_flags & MEMF_EXACT_NODE), below)


def extents_from(runs: Runs, order: Order, start_extent: int) -> Iterator[int]:
    """First frames of the extents, from number `start_extent` on."""
    skip = start_extent
    for first, count in runs:
        if skip >= count:
            skip -= count
            continue
        for index in range(skip, count):
            yield first + (index << order)
        skip = 0


def append_extent(runs: list[Run], mfn: int, order: Order) -> None:
    """Add one extent to a run-length coded list."""
    if runs:
        first, count = runs[-1]
        if first + (count << order) == mfn:
            runs[-1] = (first, count + 1)
            return
    runs.append((mfn, 1))


def map_extent(host: Host, domain: Domain, gfn: Gfn, mfn: Mfn, order: Order) -> None:
    """guest_physmap_add_page: enter an assigned extent into the physmap of an HVM domain.

    A kill may have come in the gap and taken the page back already. Beyond what EPT can address the entry is
    not made; no caller in memory.c looks whether it was, and the page stays the domain's.
    """
    if gfn + (1 << order) > GFN_LIMIT or domain.p2m is None:
        return
    if host.frames.owner(mfn) != domain.domid or shared_within(domain, gfn, order):
        return  # shared entries are made private first, and stay where that failed (S9)
    if domain.pod.entries:
        domain.pod.clear(gfn, order)
    domain.p2m.map(gfn, mfn, order)


def shared_within(domain: Domain, gfn: Gfn, order: Order) -> list[Gfn]:
    """The shared gfns of one extent, ascending."""
    shared = domain.shared_gfns
    if 1 << order <= len(shared):
        return [one for one in range(gfn, gfn + (1 << order)) if one in shared]
    return sorted(one for one in shared if gfn <= one < gfn + (1 << order))
