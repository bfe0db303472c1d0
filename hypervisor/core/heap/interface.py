"""What the accounting asks of a heap of page frames, whichever heap it is."""

from collections.abc import Iterator, Sequence
from typing import Protocol

MAX_ORDER = 18
"""Largest block of the buddy lists: 2^18 pages, 1 GiB (xen-memory 0.1)."""


def aligned_blocks(first: int, end: int) -> Iterator[tuple[int, int]]:
    """The frames first..end-1 as the fewest aligned blocks (first, order), order 0..MAX_ORDER."""
    while first < end:
        order = min((end - first).bit_length() - 1, MAX_ORDER)
        if first:
            order = min(order, (first & -first).bit_length() - 1)
        yield first, order
        first += 1 << order


class Heap(Protocol):
    """Free page frames in blocks of 2^order pages, order 0..MAX_ORDER, on one or more nodes.

    Quantities are pages of 4 KiB, `mfn` is a machine frame number below 2^32. The heap knows nothing of
    domains, claims or limits: the claim check (C17) comes before `take`, ownership after it (A12).
    """

    @property
    def total_pages(self) -> int:
        """Pages of RAM this heap hands out, free or not."""
        ...

    @property
    def total_avail(self) -> int:
        """Pages on the free lists now: Xen's total_avail_pages (0.1). Claims do not lower it."""
        ...

    @property
    def node_count(self) -> int:
        """Number of NUMA nodes; nodes are numbered from 0."""
        ...

    def node_avail(self, node: int) -> int:
        """Pages free on `node`."""
        ...

    def node_pages(self, node: int) -> int:
        """Pages of RAM on `node`, free or not."""
        ...

    def node_of(self, mfn: int) -> int:
        """The node that holds `mfn`. AssertionError if the frame is no RAM of this heap."""
        ...

    def take(self, order: int, nodes: Sequence[int], below: int | None = None) -> int | None:
        """Take 2^order pages and return the first mfn, aligned to 2^order; None if there is no such block.

        `nodes` are tried in turn (A21 is the caller's choice of them). On a node the smallest sufficient
        block is split and its remainders go back (A19). Every page lies under `below`, an mfn (the address
        width limit of A1), when given. None says nothing of the amount free: with fragments only, order 9
        fails while `total_avail` is large (C18, A24).
        """
        ...

    def give(self, mfn: int, order: int) -> None:
        """Free 2^order pages from `mfn`, merging with free buddies of the same node up to MAX_ORDER (A23).

        Any aligned part of taken blocks may be given, in other orders than they were taken in.
        AssertionError when a page of it is already free or no RAM: that is our own bug, never a guest's.
        """
        ...

    def reserve(self, mfn: int) -> bool:
        """Take one given frame out of the free block around it; False when it is not free (C28)."""
        ...

    def largest_free_order(self) -> int:
        """Order of the largest free block, -1 when nothing is free."""
        ...

    def digest_parts(self) -> Iterator[bytes]:
        """Canonical content: equal for two heaps of the same shape with the same free blocks."""
        ...

    def free_blocks(self) -> Iterator[tuple[int, int]]:
        """The free blocks as (first mfn, order), for invariants and tests."""
        ...
