"""A buddy heap over real frames: fragmentation and fallback happen here because they happen in Xen.

Rules A18-A24, page_alloc.c:alloc_heap_pages and free_heap_pages. One byte per frame says what the frame is
(see freelists); a block of 1 GiB that is wholly free has no bytes of its own.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import compress

from hypervisor.core.heap.freelists import (
    ALLOCATED,
    CHUNK_MASK,
    CHUNK_PAGES,
    INTERIOR,
    FreeLists,
    untouched_chunk,
)
from hypervisor.core.heap.interface import MAX_ORDER, aligned_blocks

_MFN_LIMIT = 1 << 32
_TAKEN = tuple(bytes([ALLOCATED]) * (1 << order) for order in range(MAX_ORDER + 1))
_EMPTIED = tuple(bytes([INTERIOR]) * (1 << order) for order in range(MAX_ORDER + 1))
_ORDERS_ONLY = bytes(byte if byte <= MAX_ORDER + 1 else 0 for byte in range(256))


class FrameHeap:
    """The heap of a host whose nodes are contiguous ranges of frames, given as (first mfn, pages).

    Ranges may have any size and may share a 1-GiB chunk, but not overlap. Node numbers are positions in
    `nodes`. `remembered` bounds how many entries of a free list keep their last-in-first-out order.
    """

    def __init__(self, nodes: Sequence[tuple[int, int]], *, remembered: int = 1 << 16) -> None:
        _check_ranges(nodes)
        self.total_pages = sum(pages for _, pages in nodes)
        self.total_avail = 0
        self.node_count = len(nodes)
        untouched = untouched_chunk()
        chunks = _initial_chunks(nodes, untouched)
        self._chunks = chunks
        self._nodes = [
            FreeLists(first, first + pages, chunks, untouched, remembered) for first, pages in nodes
        ]
        for node in self._nodes:
            # Ascending, so that the highest memory is at the head of its list: Xen spares low memory (A19).
            for mfn, order in aligned_blocks(node.first, node.end):
                node.push(mfn, order)
            node.avail = node.end - node.first
            self.total_avail += node.avail

    def node_avail(self, node: int) -> int:
        """Pages free on `node`."""
        return self._nodes[node].avail

    def node_pages(self, node: int) -> int:
        """Pages of RAM on `node`."""
        return self._nodes[node].end - self._nodes[node].first

    def node_of(self, mfn: int) -> int:
        """The node that holds `mfn`. AssertionError if the frame is no RAM."""
        for number, node in enumerate(self._nodes):
            if node.first <= mfn < node.end:
                return number
        raise AssertionError(f"mfn {mfn:#x} is no RAM of this heap")

    def take(self, order: int, nodes: Sequence[int], below: int | None = None) -> int | None:
        """Take 2^order pages on the first of `nodes` that has such a block under `below` (A19)."""
        pages = 1 << order
        for number in nodes:
            node = self._nodes[number]
            if node.avail < pages:
                continue
            mfn = self._take_on(node, order, node.end if below is None else below)
            if mfn is not None:
                node.avail -= pages
                self.total_avail -= pages
                return mfn
        return None

    def give(self, mfn: int, order: int) -> None:
        """Free 2^order pages from `mfn` and merge them (A23). AssertionError on a double free."""
        pages = 1 << order
        for node in self._nodes:
            if node.first <= mfn and mfn + pages <= node.end:
                break
        else:
            raise AssertionError(f"mfn {mfn:#x} order {order} given back is not RAM of one node")
        chunk = self._chunks[mfn >> MAX_ORDER]
        offset = mfn & CHUNK_MASK
        taken = chunk[offset] == ALLOCATED if order == 0 else chunk.startswith(_TAKEN[order], offset)
        if mfn & (pages - 1) or not taken:
            raise AssertionError(f"mfn {mfn:#x} order {order} given back is misaligned or already free")
        if order == 0:
            chunk[offset] = INTERIOR
        else:
            chunk[offset : offset + pages] = _EMPTIED[order]
        self._merge(node, mfn, order)
        node.avail += pages
        self.total_avail += pages

    def reserve(self, mfn: int) -> bool:
        """Take one given frame out of its free block, the rest of which stays free (reserve_heap_page).

        False when the frame is not free; AssertionError when it is no RAM.
        """
        node = self._nodes[self.node_of(mfn)]
        for order in range(MAX_ORDER + 1):
            first = mfn & -(1 << order)
            if self._chunks[first >> MAX_ORDER][first & CHUNK_MASK] == order + 1:
                break
        else:
            return False
        node.unlink(first, order)
        for smaller in range(order - 1, -1, -1):
            half = 1 << smaller
            node.push(first if mfn & half else first + half, smaller)
            first += mfn & half
        self._chunks[mfn >> MAX_ORDER][mfn & CHUNK_MASK] = ALLOCATED
        node.avail -= 1
        self.total_avail -= 1
        return True

    def largest_free_order(self) -> int:
        """Order of the largest free block on any node, -1 when nothing is free."""
        for order in range(MAX_ORDER, -1, -1):
            if any(node.live[order] for node in self._nodes):
                return order
        return -1

    def digest_parts(self) -> Iterator[bytes]:
        """The ranges of the nodes and, chunk by chunk, the byte of every frame."""
        for node in self._nodes:
            yield struct.pack("<QQ", node.first, node.end)
            for base, low, high in _chunk_parts(node.first, node.end):
                chunk = self._chunks[base >> MAX_ORDER]
                yield b"untouched" if chunk is node.untouched else bytes(chunk[low:high])

    def free_blocks(self) -> Iterator[tuple[int, int]]:
        """The free blocks as (first mfn, order), by node, ascending within a node."""
        for node in self._nodes:
            for base, low, high in _chunk_parts(node.first, node.end):
                heads = self._chunks[base >> MAX_ORDER][low:high].translate(_ORDERS_ONLY)
                for offset in compress(range(len(heads)), heads):
                    yield base + low + offset, heads[offset] - 1

    def _take_on(self, node: FreeLists, order: int, below: int) -> int | None:
        """Take a block of one node, its pages under `below`; None if there is none."""
        live = node.live
        found = order
        while not live[found]:
            found += 1
        if found > MAX_ORDER:
            return None
        if below >= node.end:
            mfn = node.pop(found)
        else:
            block = self._unlink_under(node, order, below)
            if block is None:
                return None
            mfn, found = block
        pages = 1 << order
        while found > order:
            found -= 1
            upper = mfn + (1 << found)
            # As in Xen the lower half goes back and the upper is used, so that successive small blocks of a
            # fresh heap come out descending, each below the last.
            if upper + pages <= below:
                node.push(mfn, found)
                mfn = upper
            else:
                node.push(upper, found)
        offset = mfn & CHUNK_MASK
        if order == 0:
            self._chunks[mfn >> MAX_ORDER][offset] = ALLOCATED
        else:
            self._chunks[mfn >> MAX_ORDER][offset : offset + pages] = _TAKEN[order]
        return mfn

    def _unlink_under(self, node: FreeLists, order: int, below: int) -> tuple[int, int] | None:
        """Unlink the smallest block that has 2^order pages under `below`; its mfn and order."""
        for found in range(order, MAX_ORDER + 1):
            if node.live[found]:
                mfn = node.highest_under(found, below - (1 << order))
                if mfn is not None:
                    node.unlink(mfn, found)
                    return mfn, found
        return None

    def _merge(self, node: FreeLists, mfn: int, order: int) -> None:
        """Link a block whose bytes are INTERIOR, together with the free buddies it meets."""
        # A buddy never lies in another chunk: chunks are blocks of the largest order.
        chunk = self._chunks[mfn >> MAX_ORDER]
        while order < MAX_ORDER:
            buddy = mfn ^ (1 << order)
            if chunk[buddy & CHUNK_MASK] != order + 1 or not node.first <= buddy < node.end:
                break
            node.unlink(buddy, order)
            mfn &= buddy
            order += 1
        node.push(mfn, order)


def _check_ranges(nodes: Sequence[tuple[int, int]]) -> None:
    """ValueError unless the ranges are non-empty, apart, and within 32-bit frame numbers."""
    if not nodes:
        raise ValueError("a heap needs at least one node: give (first mfn, pages) for each")
    end = 0
    for first, pages in sorted(nodes):
        if pages <= 0 or first < 0 or first + pages > _MFN_LIMIT:
            raise ValueError(f"node of {pages} pages at mfn {first}: need pages > 0 and every mfn below 2^32")
        if first < end:
            raise ValueError(f"node at mfn {first} overlaps the one that ends at mfn {end}: move it up")
        end = first + pages


def _initial_chunks(nodes: Sequence[tuple[int, int]], untouched: bytearray) -> list[bytearray]:
    """Chunks by mfn >> MAX_ORDER: `untouched` where no bytes are needed, else INTERIOR bytes."""
    end = max(first + pages for first, pages in nodes)
    chunks = [untouched] * ((end + CHUNK_MASK) >> MAX_ORDER)
    for first, pages in nodes:
        for base, low, high in _chunk_parts(first, first + pages):
            if high - low < CHUNK_PAGES:
                chunks[base >> MAX_ORDER] = bytearray(CHUNK_PAGES)
    return chunks


def _chunk_parts(first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The chunks that hold the frames first..end-1, each as (base mfn, low, high), offsets low..high-1."""
    for base in range(first & ~CHUNK_MASK, end, CHUNK_PAGES):
        yield base, max(first - base, 0), min(end - base, CHUNK_PAGES)
