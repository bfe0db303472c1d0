"""Where one domain sees its frames: gfn to mfn, with superpages, as a p2m table keeps it.

Like page tables it costs memory by what is mapped and not by how high a gfn is: one entry for a 1-GiB or
2-MiB leaf, a table of 512 entries where 4-KiB leaves are needed. As in Xen a superpage is split when a part
of it changes, and a full table is not made a superpage again.
"""

import struct
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from hypervisor.core.heap.interface import aligned_blocks

_GIANT = 18  # order of a 1-GiB leaf
_LARGE = 9  # order of a 2-MiB leaf
_SLOTS = 1 << _LARGE
_SLOT_MASK = _SLOTS - 1
_HOLE = 0xFFFF_FFFF  # a slot that maps nothing; no heap has such an mfn
_SLOT_BYTES = 4
_EMPTY = b"\xff" * (_SLOT_BYTES * _SLOTS)  # the bytes of a table of holes


class Unmapped(NamedTuple):
    """What unmap_extent removed."""

    blocks: list[tuple[int, int]]
    """The frames in gfn order as (mfn, order); order > 0 only for what a superpage mapped."""
    pages: int
    """Pages removed, 2^order of the extent if no hole was met."""


class PhysMap:
    """The gfn to mfn map of one HVM domain. Frames stay owned by the domain until the caller frees them."""

    def __init__(self) -> None:
        self.entries = 0
        """Pages mapped."""
        self.highest_gfn = 0
        """Highest gfn ever mapped, as p2m->max_mapped_pfn: it never falls, and is 0 before the first map."""
        self._giants: dict[int, int] = {}  # gfn >> 18 to mfn
        self._larges: dict[int, int] = {}  # gfn >> 9 to mfn
        self._tables: dict[int, array[int]] = {}  # gfn >> 9 to 512 mfns

    @property
    def tables(self) -> int:
        """Tables of 4-KiB leaves now in use, 2 KiB each: what a paging pool could be charged."""
        return len(self._tables)

    def map(self, gfn: int, mfn: int, order: int) -> None:
        """Map 2^order pages, with the largest leaves that gfn and mfn are both aligned for.

        What was mapped there before is replaced, as guest_physmap_add_page does: the old frames are then
        mapped nowhere, and still owned by the domain. Neither gfn nor mfn need be aligned.
        """
        end = gfn + (1 << order)
        self.highest_gfn = max(self.highest_gfn, end - 1)
        while gfn < end:
            leaf = _leaf_order(gfn | mfn, end - gfn)
            pages = 1 << leaf
            if leaf == _GIANT:
                self._map_giant(gfn >> _GIANT, mfn)
            elif leaf == _LARGE:
                self._map_large(gfn >> _LARGE, mfn)
            else:
                slot = gfn & _SLOT_MASK
                pages = min(end - gfn, _SLOTS - slot)
                self._map_pages(gfn >> _LARGE, slot, mfn, pages)
            gfn += pages
            mfn += pages

    def lookup(self, gfn: int) -> int | None:
        """The mfn mapped at `gfn`, None for a hole."""
        region = gfn >> _LARGE
        table = self._tables.get(region)
        if table is not None:
            mfn = table[gfn & _SLOT_MASK]
            return None if mfn == _HOLE else mfn
        first = self._larges.get(region)
        if first is not None:
            return first + (gfn & _SLOT_MASK)
        first = self._giants.get(gfn >> _GIANT)
        return None if first is None else first + (gfn & ((1 << _GIANT) - 1))

    def any_mapped(self, gfn: int, order: int) -> bool:
        """Whether any of 2^order gfns maps a page."""
        end = gfn + (1 << order)
        while gfn < end:
            if self.lookup(gfn) is not None:
                return True
            empty = gfn >> _LARGE not in self._tables  # nothing maps this region of 512
            gfn = min(end, ((gfn >> _LARGE) + 1) << _LARGE) if empty else gfn + 1
        return False

    def unmap(self, gfn: int) -> int | None:
        """Remove one page, splitting a superpage if need be; its mfn, None for a hole."""
        mfn = self.lookup(gfn)
        if mfn is not None:
            self._remove(gfn, 0)
        return mfn

    def unmap_extent(self, gfn: int, order: int) -> Unmapped:
        """Remove 2^order pages from `gfn` on, up to the first hole (A11: pages already gone stay gone).

        An extent that one superpage maps comes out as the single block (mfn, order) if it is aligned, one of
        several superpages or not aligned as several blocks; 4-KiB leaves come out one by one.
        """
        end = gfn + (1 << order)
        blocks: list[tuple[int, int]] = []
        pages = 0
        while gfn < end:
            mfn = self.lookup(gfn)
            if mfn is None:
                break
            # The order of the leaf counts before the first part of it is removed, which may split it.
            leaf = self._leaf_at(gfn)
            stop = min(end, ((gfn >> leaf) + 1) << leaf)
            for first, part in aligned_blocks(gfn, stop) if leaf else ((gfn, 0),):
                self._remove(first, part)
                blocks.append((mfn + first - gfn, part))
            pages += stop - gfn
            gfn = stop
        return Unmapped(blocks, pages)

    def leaves(self) -> Iterator[tuple[int, int, int]]:
        """Every leaf as (gfn, mfn, order of the leaf): the largest first, then ascending by gfn."""
        for index in sorted(self._giants):
            yield index << _GIANT, self._giants[index], _GIANT
        for index in sorted(self._larges):
            yield index << _LARGE, self._larges[index], _LARGE
        for index in sorted(self._tables):
            for slot, mfn in enumerate(self._tables[index]):
                if mfn != _HOLE:
                    yield (index << _LARGE) + slot, mfn, 0

    def mapped_below(self, end: int) -> Iterator[int]:
        """The gfns below `end` that map a page, descending; costs by what is mapped, as everything here.

        The caller may unmap what it has been given, and map nothing meanwhile.
        """
        extents = [(index << _GIANT, _GIANT) for index in self._giants]
        extents += [(region << _LARGE, _LARGE) for part in (self._larges, self._tables) for region in part]
        for first, order in sorted((one for one in extents if one[0] < end), reverse=True):
            for gfn in range(min(end, first + (1 << order)) - 1, first - 1, -1):
                if self.lookup(gfn) is not None:
                    yield gfn

    def digest_parts(self) -> Iterator[bytes]:
        """highest_gfn and every leaf with its size, by gfn: a split superpage differs from a whole one."""
        yield struct.pack("<QQQ", self.highest_gfn, len(self._giants), len(self._larges))
        for leaves in (self._giants, self._larges):
            for index in sorted(leaves):
                yield struct.pack("<QQ", index, leaves[index])
        for index in sorted(self._tables):
            yield struct.pack("<Q", index)
            yield self._tables[index].tobytes()

    def _leaf_at(self, gfn: int) -> int:
        """Order of the leaf that maps `gfn`; a hole counts as 0."""
        if gfn >> _LARGE in self._larges:
            return _LARGE
        return _GIANT if gfn >> _GIANT in self._giants else 0

    def _map_pages(self, region: int, slot: int, mfn: int, pages: int) -> None:
        """Map 4-KiB leaves within one region of 512 gfns."""
        table = self._table(region)
        if pages == 1:
            self.entries += table[slot] == _HOLE
            table[slot] = mfn
        else:
            self.entries += table[slot : slot + pages].count(_HOLE)
            table[slot : slot + pages] = array("I", range(mfn, mfn + pages))

    def _map_large(self, region: int, mfn: int) -> None:
        self._split_giant(region >> (_GIANT - _LARGE))
        self._drop_region(region)
        self._larges[region] = mfn
        self.entries += _SLOTS

    def _map_giant(self, index: int, mfn: int) -> None:
        if index not in self._giants:
            first = index << (_GIANT - _LARGE)
            for region in range(first, first + (1 << (_GIANT - _LARGE))):
                self._drop_region(region)
            self.entries += 1 << _GIANT
        self._giants[index] = mfn

    def _drop_region(self, region: int) -> None:
        """Forget what a region of 512 gfns maps, other than by a 1-GiB leaf."""
        table = self._tables.pop(region, None)
        if table is not None:
            self.entries -= _SLOTS - table.count(_HOLE)
        elif self._larges.pop(region, None) is not None:
            self.entries -= _SLOTS

    def _split_giant(self, index: int) -> None:
        """Turn a 1-GiB leaf, if there is one, into 2-MiB leaves."""
        mfn = self._giants.pop(index, None)
        if mfn is not None:
            first = index << (_GIANT - _LARGE)
            for region in range(1 << (_GIANT - _LARGE)):
                self._larges[first + region] = mfn + (region << _LARGE)

    def _table(self, region: int) -> "array[int]":
        """The table of a region of 512 gfns, made anew or from the superpage that maps it."""
        table = self._tables.get(region)
        if table is None:
            self._split_giant(region >> (_GIANT - _LARGE))
            mfn = self._larges.pop(region, None)
            table = array("I", _EMPTY if mfn is None else range(mfn, mfn + _SLOTS))
            self._tables[region] = table
        return table

    def _remove(self, gfn: int, order: int) -> None:
        """Unmap an aligned part, order at most that of the leaf, of what a leaf maps."""
        self.entries -= 1 << order
        region = gfn >> _LARGE
        if order == _GIANT:
            del self._giants[gfn >> _GIANT]
        elif order >= _LARGE:
            self._split_giant(gfn >> _GIANT)
            for part in range(region, region + (1 << (order - _LARGE))):
                del self._larges[part]
        else:
            table = self._table(region)
            slot = gfn & _SLOT_MASK
            table[slot : slot + (1 << order)] = array("I", _EMPTY[: _SLOT_BYTES << order])
            if table.tobytes() == _EMPTY:
                del self._tables[region]


def _leaf_order(frames: int, pages: int) -> int:
    """The largest leaf for `pages` pages at a gfn and an mfn whose bitwise or is `frames`."""
    for leaf in (_GIANT, _LARGE):
        if pages >> leaf and not frames & ((1 << leaf) - 1):
            return leaf
    return 0
