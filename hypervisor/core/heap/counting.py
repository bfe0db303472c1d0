"""A heap that only counts, for replaying what a real Xen did with frames the recording does not show."""

import struct
from collections.abc import Iterator, Sequence

from hypervisor.core.heap.interface import MAX_ORDER


class CountingHeap:
    """Free pages are told by a recording; frames are invented, and never fragmented.

    Every order up to MAX_ORDER can be had while `total_avail` lasts, unless `blocks_until_refusal` says that
    the recorded host was out of contiguous chunks (C18). All nodes share the free pages: only a request for
    no node at all is refused (A20). The width limit `below` is not modelled.
    """

    def __init__(self, total_pages: int, total_avail: int, node_count: int = 1) -> None:
        self.total_pages = total_pages
        self.node_count = node_count
        self.total_avail = total_avail
        """Free pages; set it when the recording says otherwise, exact between two such sayings."""
        self.blocks_until_refusal: int | None = None
        """How many takes succeed before one is refused and this becomes None again; None: no refusal told."""
        self._next_mfn = 0
        self._returned: list[list[int]] = [[] for _ in range(MAX_ORDER + 1)]

    def node_avail(self, node: int) -> int:
        """Pages free, on whichever node: they are told for the host as a whole."""
        return self.total_avail if node < self.node_count else 0

    def node_pages(self, node: int) -> int:
        """Pages of the host, of which any may be on any node."""
        return self.total_pages if node < self.node_count else 0

    def node_of(self, mfn: int) -> int:
        """Always node 0."""
        return 0

    def take(self, order: int, nodes: Sequence[int], below: int | None = None) -> int | None:
        """Take 2^order pages: a returned block of just this order, else frames never used before."""
        if self.blocks_until_refusal == 0:
            self.blocks_until_refusal = None
            return None
        pages = 1 << order
        if order > MAX_ORDER or pages > self.total_avail or not nodes:
            return None
        if self.blocks_until_refusal is not None:
            self.blocks_until_refusal -= 1
        self.total_avail -= pages
        if self._returned[order]:
            return self._returned[order].pop()
        mfn = (self._next_mfn + pages - 1) & -pages
        self._next_mfn = mfn + pages
        return mfn

    def give(self, mfn: int, order: int) -> None:
        """Free 2^order pages, in any order of block; only an owner ledger would notice a double free."""
        self.total_avail += 1 << order
        self._returned[order].append(mfn)

    def reserve(self, mfn: int) -> bool:
        """Never: a frame here is invented when it is taken, so none is free beforehand."""
        return False

    def largest_free_order(self) -> int:
        """The largest order that the free pages suffice for, -1 when there are none."""
        return min(max(self.total_avail, 0).bit_length() - 1, MAX_ORDER)

    def digest_parts(self) -> Iterator[bytes]:
        """The counts: which invented frames stand for the free pages is no property of the host."""
        yield struct.pack("<qq", self.total_pages, self.total_avail)

    def free_blocks(self) -> Iterator[tuple[int, int]]:
        """Returned blocks not yet taken again; their pages need not add up to `total_avail`."""
        for order, blocks in enumerate(self._returned):
            for mfn in sorted(blocks):
                yield mfn, order
