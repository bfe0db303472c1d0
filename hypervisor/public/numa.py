"""NUMA: claim sets, node affinity, virtual nodes, and what the nodes hold (public/domctl.h, sysctl.h).

Privilege: the control domain only; anyone else gets EPERM. A release without the operation answers ENOSYS.
"""

from typing import Final

from msgspec import Struct

from hypervisor.public.domctl import DOMCTL, SYSCTL
from hypervisor.public.units import U16, U32, U64, NodeId, Pages

MAX_NUMNODES: Final = 64
"""Nodes that a hypervisor is built for (N2)."""
CLAIM_TARGET_GLOBAL: Final = 0x8000_0000
"""Target of a claim on memory of any node (N1)."""
CLAIM_TARGET_LEGACY: Final = 0x4000_0000
"""Target of a claim in the manner of XENMEM_claim_pages: its `pages` are a wanted total (N1)."""
NO_VNUMA_NODE: Final = 0xFFFF_FFFF
"""In `SetVnumaInfo`: this virtual node is on no node in particular (XEN_NUMA_NO_NODE)."""


class MemoryClaim(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One entry of a claim set (memory_claim_t)."""

    pages: U64  # in: pages still to come, whatever tot_pages is now (N3)
    target: U32 = CLAIM_TARGET_GLOBAL  # in: a node, GLOBAL or LEGACY
    pad: U32 = 0  # in: must be 0


class ClaimMemory(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 91):
    """XEN_DOMCTL_claim_memory: replace all claims of a domain at once, or none of them (N1-N3, claim-sets).

    Answers 0; EOPNOTSUPP under cache colouring; EINVAL for no entry, a pad, a target named twice, or more
    than max_pages allows; E2BIG for more than 65 entries; ESRCH for a dying domain; ENOENT for a node that is
    not there; ENOMEM when a node or the host has less unclaimed.
    """

    domid: U16  # in
    claims: tuple[MemoryClaim, ...]  # in
    pad: U32 = 0  # in: must be 0


class SetNodeAffinity(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 68):
    """XEN_DOMCTL_setnodeaffinity: the nodes that serve a domain first (A18, A21).

    All 64 bits set go back to the default, every node. EINVAL when no node of the host is among them.
    """

    domid: U16  # in
    nodemap: U64  # in: bit n for node n


class SetVnumaInfo(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 74):
    """XEN_DOMCTL_setvnumainfo: which node stands behind each virtual node of a domain (A3, A7, since 4.5).

    Distances and memory ranges, which only the guest reads, are left out. EINVAL for no virtual node or for a
    node number that cannot be.
    """

    domid: U16  # in
    vnode_to_pnode: tuple[U32, ...]  # in: a node, or NO_VNUMA_NODE


class Numainfo(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SYSCTL | 17):
    """XEN_SYSCTL_numainfo: the nodes' memory, read under one lock; the value is `NumaNodes`."""


class NumaNode(Struct, frozen=True, array_like=True):
    """One node, in pages. `claimed` is a figure of the claim sets, 0 without them (N8, W10)."""

    memsize: Pages
    memfree: Pages
    claimed: Pages


class NumaNodes(Struct, frozen=True, array_like=True, tag=40):
    """Value of numainfo, by node number."""

    nodes: tuple[NumaNode, ...]


NumaDomctl = ClaimMemory | SetNodeAffinity | SetVnumaInfo
NumaValue = NumaNodes


def node_claim(node: NodeId, pages: Pages) -> MemoryClaim:
    """An entry that claims `pages` of one node."""
    return MemoryClaim(pages, node)
