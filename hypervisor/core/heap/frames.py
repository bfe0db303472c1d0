"""Who owns each frame: the ledger that makes "no frame owned twice" a fact and not a hope.

Xen keeps the owner in struct page_info, with a count of references. Here an owner is a 16-bit domid per
frame, in chunks made when first written; references beyond the owner's own are rare and kept apart.
"""

import re
import struct
from array import array
from collections.abc import Iterator

FREE = 0x7FF4
"""Owner of a frame that nobody owns: DOMID_INVALID (xen-memory 0.4)."""

_CHUNK_ORDER = 16
_CHUNK_PAGES = 1 << _CHUNK_ORDER
_CHUNK_MASK = _CHUNK_PAGES - 1


class FrameTable:
    """Owners of and references to page frames, for any mfn; a frame never mentioned is FREE."""

    def __init__(self) -> None:
        self._chunks: dict[int, array[int]] = {}
        # Pages by owner and chunk, FREE left out, no zeros: where to look for a domain's pages.
        self._counts: dict[int, dict[int, int]] = {}
        self._references: dict[int, int] = {}

    def owner(self, mfn: int) -> int:
        """The domid that owns the frame, FREE if none."""
        chunk = self._chunks.get(mfn >> _CHUNK_ORDER)
        return FREE if chunk is None else chunk[mfn & _CHUNK_MASK]

    def held(self, owner: int) -> int:
        """Pages owned by `owner`, counted or not in its tot_pages (C20); not defined for FREE."""
        return sum(self._counts.get(owner, {}).values())

    def owners(self) -> list[int]:
        """Every owner of at least one page, ascending, without FREE."""
        return sorted(self._counts)

    def set_owner(self, mfn: int, order: int, owner: int, expect: int) -> None:
        """Move 2^order frames from `mfn` from the owner `expect` to `owner`, all or none.

        AssertionError, with nothing changed, when a frame is not owned by `expect`, or when a frame to become
        FREE is still referenced: both are our own bugs.
        """
        if owner == FREE and self._references and self.referenced(mfn, order):
            raise AssertionError(f"mfn {mfn:#x} order {order} freed while referenced")
        if order == 0:
            index = mfn >> _CHUNK_ORDER
            chunk = self._chunks.get(index)
            if chunk is None:
                chunk = self._new_chunk(index)
            offset = mfn & _CHUNK_MASK
            if chunk[offset] != expect:
                raise AssertionError(f"mfn {mfn:#x} is owned by {chunk[offset]:#x}, not by {expect:#x}")
            chunk[offset] = owner
            self._count(index, 1, owner, expect)
        else:
            self._set_block(mfn, 1 << order, owner, expect)

    def next_run(self, owner: int, cursor: int, limit: int) -> tuple[int, int] | None:
        """The first frames of `owner` at or after mfn `cursor`, as (mfn, count), 1 <= count <= limit pages.

        None when there are none. The frames are contiguous and ascending; a run also ends where a chunk of
        2^16 frames does. For walking a dying domain's pages slice by slice: pass mfn + count on.
        """
        counts = self._counts.get(owner, {})
        index: int | None = cursor >> _CHUNK_ORDER
        start = cursor & _CHUNK_MASK
        while index is not None:
            if index in counts:
                chunk = self._chunks[index]
                offset = _find(chunk, owner, start)
                if offset is not None:
                    return (index << _CHUNK_ORDER) + offset, _run_length(chunk, owner, offset, limit)
            index = min((later for later in counts if later > index), default=None)
            start = 0
        return None

    def run_length(self, mfn: int, owner: int, limit: int) -> int:
        """How many frames from `mfn` on are of `owner`: `limit` at most, and none beyond its chunk."""
        chunk = self._chunks.get(mfn >> _CHUNK_ORDER)
        offset = mfn & _CHUNK_MASK
        if chunk is None or chunk[offset] != owner:
            return 0
        return _run_length(chunk, owner, offset, limit)

    def get_page(self, mfn: int) -> None:
        """Take one more reference to an owned frame (a foreign map); AssertionError on a FREE one."""
        if self.owner(mfn) == FREE:
            raise AssertionError(f"reference to mfn {mfn:#x}, which nobody owns")
        self._references[mfn] = self._references.get(mfn, 0) + 1

    def put_page(self, mfn: int) -> int:
        """Drop one reference taken by get_page and return how many are left."""
        left = self._references.get(mfn, 0) - 1
        if left < 0:
            raise AssertionError(f"put_page of mfn {mfn:#x} without a get_page")
        if left:
            self._references[mfn] = left
        else:
            del self._references[mfn]
        return left

    @property
    def any_references(self) -> bool:
        """True while any frame of the host has an extra reference."""
        return bool(self._references)

    def references(self, mfn: int) -> int:
        """References to the frame beyond its owner's own."""
        return self._references.get(mfn, 0)

    def referenced(self, mfn: int, order: int) -> bool:
        """Whether any of 2^order frames from `mfn` has references."""
        end = mfn + (1 << order)
        if end - mfn <= len(self._references):
            return any(frame in self._references for frame in range(mfn, end))
        return any(mfn <= frame < end for frame in self._references)

    def digest_parts(self) -> Iterator[bytes]:
        """Owners of every chunk that has an owned frame, then the references, both by mfn."""
        indexes = dict.fromkeys(index for counts in self._counts.values() for index in counts)
        for index in sorted(indexes):
            yield struct.pack("<Q", index)
            yield self._chunks[index].tobytes()
        for mfn in sorted(self._references):
            yield struct.pack("<QQ", mfn, self._references[mfn])

    def _set_block(self, mfn: int, pages: int, owner: int, expect: int) -> None:
        """set_owner for more than one frame; the whole block is looked at before any of it changes."""
        parts = list(_chunk_parts(mfn, pages))
        before = array("H", [expect]) * min(pages, _CHUNK_PAGES)
        after = array("H", [owner]) * min(pages, _CHUNK_PAGES)
        for index, low, high in parts:
            chunk = self._chunks.get(index)
            if chunk is None:
                chunk = self._new_chunk(index)
            if chunk[low:high] != before[: high - low]:
                raise AssertionError(f"mfn {mfn:#x}, {pages} pages: not all owned by {expect:#x}")
        for index, low, high in parts:
            self._chunks[index][low:high] = after[: high - low]
            self._count(index, high - low, owner, expect)

    def _new_chunk(self, index: int) -> "array[int]":
        chunk = array("H", [FREE]) * _CHUNK_PAGES
        self._chunks[index] = chunk
        return chunk

    def _count(self, index: int, pages: int, owner: int, expect: int) -> None:
        """Move `pages` pages of a chunk from the count of `expect` to that of `owner`."""
        if owner != FREE:
            counts = self._counts.get(owner)
            if counts is None:
                counts = self._counts[owner] = {}
            counts[index] = counts.get(index, 0) + pages
        if expect != FREE:
            counts = self._counts[expect]
            left = counts[index] - pages
            if left:
                counts[index] = left
                return
            del counts[index]
            if not counts:
                del self._counts[expect]


def _chunk_parts(mfn: int, pages: int) -> Iterator[tuple[int, int, int]]:
    """The frames mfn..mfn+pages-1 by chunk, each as (index, low, high) with offsets low..high-1."""
    end = mfn + pages
    while mfn < end:
        low = mfn & _CHUNK_MASK
        high = min(low + end - mfn, _CHUNK_PAGES)
        yield mfn >> _CHUNK_ORDER, low, high
        mfn += high - low


def _find(chunk: "array[int]", owner: int, start: int) -> int | None:
    """Offset of the first frame of `owner` at or after `start`, None if there is none."""
    # The two bytes are searched for in C without a copy. They may also be met across two frames; then the
    # slower element by element search takes over.
    match = re.compile(re.escape(array("H", [owner]).tobytes())).search(chunk, 2 * start)
    if match is None:
        return None
    if match.start() % 2 == 0:
        return match.start() // 2
    try:
        return chunk.index(owner, match.start() // 2 + 1)
    except ValueError:
        return None


def _run_length(chunk: "array[int]", owner: int, offset: int, limit: int) -> int:
    """How many frames from `offset` on, `limit` at most, are of `owner`; the one at `offset` is."""
    most = min(limit, _CHUNK_PAGES - offset)
    length, step = 1, 1
    # Doubling steps while they fit wholly, then halving ones.
    while step:
        if length + step <= most:
            piece = chunk[offset + length : offset + length + step]
            if piece == array("H", [owner]) * step:
                length += step
                step *= 2
                continue
        step //= 2
    return length
