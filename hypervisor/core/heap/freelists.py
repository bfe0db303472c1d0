"""The free lists of one node: for every order, the free blocks, the most recently freed first.

The truth is one byte per frame, in chunks of MAX_ORDER blocks that all nodes share. A list is only a memory
of the order in which blocks came (Xen's page_list_add at the head): an entry counts iff its frame's byte
still says that a free block of that order begins there. A block that merges leaves its entry behind as a
stale one, which costs nothing until it is met. A list never grows past `remembered` entries: beyond that the
oldest are forgotten, and found again in the bytes, by address from the top, when the list has run out. So
2^23 single free pages cost no more memory than the bytes themselves, and no list needs a long clean-up.
"""

from array import array
from itertools import compress

from hypervisor.core.heap.interface import MAX_ORDER

CHUNK_PAGES = 1 << MAX_ORDER
CHUNK_MASK = CHUNK_PAGES - 1

# Values of a frame's byte. order + 1 (1..19): a free block of that order begins here.
INTERIOR = 0  # free, but not the first page of its block; also a gap between nodes
ALLOCATED = 0x80

_WINDOW_ORDER = 16  # frames looked at in one go when a list has run out; holds at most 2^15 free pages
_IS_HEAD = tuple(bytes(byte == order + 1 for byte in range(256)) for order in range(MAX_ORDER + 1))


def untouched_chunk() -> bytearray:
    """A wholly free chunk: one block of MAX_ORDER."""
    chunk = bytearray(CHUNK_PAGES)
    chunk[0] = MAX_ORDER + 1
    return chunk


class FreeLists:
    """Free blocks of the frames first..end-1 of one node, in lists by order.

    `chunks` is the heap's list of byte chunks, by mfn >> MAX_ORDER, shared with the other nodes. `untouched`
    is the one object that stands for every wholly free chunk; it is never written to.
    """

    __slots__ = (
        "_cursors",
        "_remembered",
        "_short",
        "_stacks",
        "avail",
        "chunks",
        "end",
        "first",
        "live",
        "untouched",
    )

    def __init__(
        self, first: int, end: int, chunks: list[bytearray], untouched: bytearray, remembered: int
    ) -> None:
        self.first = first
        self.end = end
        self.avail = 0  # pages
        self.chunks = chunks
        self.untouched = untouched
        # Free blocks by order. The last entry is a sentinel so that a search for a non-empty order ends.
        self.live = [0] * (MAX_ORDER + 1) + [1]
        self._remembered = remembered
        self._short = min(remembered, 1024)  # lists up to here are not worth trimming
        self._stacks = [array("I") for _ in range(MAX_ORDER + 1)]
        self._cursors = [((end - 1) >> _WINDOW_ORDER) + 1] * (MAX_ORDER + 1)

    def push(self, mfn: int, order: int) -> None:
        """Put a block at the head of its list; its other bytes must be INTERIOR already."""
        if order == MAX_ORDER:
            self.chunks[mfn >> MAX_ORDER] = self.untouched
        else:
            self.chunks[mfn >> MAX_ORDER][mfn & CHUNK_MASK] = order + 1
        self.live[order] += 1
        stack = self._stacks[order]
        stack.append(mfn)
        entries = len(stack)
        # Trimming costs time in proportion to the entries, so it waits until half of them are stale.
        if entries > self._short and (entries > self._remembered or entries > 2 * self.live[order]):
            self._trim(order)

    def pop(self, order: int) -> int:
        """Unlink the block at the head of the list and return its mfn; `live[order]` must not be 0."""
        chunks = self.chunks
        head = order + 1
        while True:
            stack = self._stacks[order] or self._refill(order)
            mfn = stack.pop()
            if chunks[mfn >> MAX_ORDER][mfn & CHUNK_MASK] == head:
                break
        self.unlink(mfn, order)
        return mfn

    def unlink(self, mfn: int, order: int) -> None:
        """Take a free block off its list; its bytes become INTERIOR, its entry stale."""
        # Another entry for the same block may lie deeper in the list, from an earlier life of the block.
        # It is stale from here on as well, so no block is ever handed out twice.
        index = mfn >> MAX_ORDER
        if order == MAX_ORDER:
            self.chunks[index] = bytearray(CHUNK_PAGES)
        else:
            self.chunks[index][mfn & CHUNK_MASK] = INTERIOR
        self.live[order] -= 1

    def highest_under(self, order: int, limit: int) -> int | None:
        """The highest free block of just this order that begins at or under the mfn `limit`."""
        stop = min(limit + 1, self.end)
        for index in range((stop - 1) >> MAX_ORDER, (self.first >> MAX_ORDER) - 1, -1):
            base = index << MAX_ORDER
            low = max(self.first - base, 0)
            offset = self.chunks[index].rfind(order + 1, low, stop - base) if stop > base + low else -1
            if offset >= 0:
                return base + offset
        return None

    def _trim(self, order: int) -> None:
        """Forget the stale and doubled entries of a list, and the oldest when it is over length."""
        chunks = self.chunks
        head = order + 1
        newest_first = dict.fromkeys(
            mfn for mfn in reversed(self._stacks[order]) if chunks[mfn >> MAX_ORDER][mfn & CHUNK_MASK] == head
        )
        kept = array("I", newest_first)[: self._remembered // 2]
        kept.reverse()
        self._stacks[order] = kept

    def _refill(self, order: int) -> "array[int]":
        """Remember forgotten blocks of a list that has run out, going on down from the last such search."""
        windows = ((self.end - 1) >> _WINDOW_ORDER) - (self.first >> _WINDOW_ORDER) + 1
        for _ in range(windows):
            self._cursors[order] -= 1
            if self._cursors[order] < self.first >> _WINDOW_ORDER:
                self._cursors[order] = (self.end - 1) >> _WINDOW_ORDER
            found = self._heads(self._cursors[order] << _WINDOW_ORDER, order)
            if found:
                self._stacks[order] = found
                return found
        raise AssertionError(f"{self.live[order]} free blocks of order {order} counted, none found")

    def _heads(self, window: int, order: int) -> "array[int]":
        """Free blocks of this order that begin in the window of frames at `window`, ascending."""
        step = 1 << order
        start = (max(window, self.first) + step - 1) & -step
        stop = min(window + (1 << _WINDOW_ORDER), self.end)
        if start >= stop:
            return array("I")
        base = window & ~CHUNK_MASK
        heads = self.chunks[window >> MAX_ORDER][start - base : stop - base : step]
        return array("I", compress(range(start, stop, step), heads.translate(_IS_HEAD[order])))
