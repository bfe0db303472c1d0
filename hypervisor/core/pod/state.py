"""One domain's populate-on-demand entries and its cache of pages for them (A29, A30; p2m-pod.c)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hypervisor.public.units import Gfn, Mfn, Order, Pages

LARGE: Final[Order] = 9
REGION: Final[Pages] = 1 << LARGE
REGIONS_LIMIT: Final = 1 << 19
"""Regions of 512 gfns that marking may fill, 1 TiB of guest memory: some 60 MiB of ours for one domain."""
_ALL: Final = (1 << REGION) - 1


@dataclass(slots=True)
class Pod:
    """struct p2m_domain.pod. Quantities are pages."""

    entries: Pages = 0
    """entry_count: gfns marked that have no page."""
    count: Pages = 0
    """Pages in the cache: the domain's, in its tot_pages, behind no gfn."""
    supers: list[Mfn] = field(default_factory=list[Mfn])
    """2-MiB extents of the cache, the next to be used last."""
    singles: list[Mfn] = field(default_factory=list[Mfn])
    highest_touched: Gfn = 0
    """pod.max_guest: where a sweep begins."""
    sweep_from: Gfn = 0
    """pod.reclaim_single: where the last sweep stopped; 0 begins anew."""
    _marked: dict[int, int] = field(default_factory=dict[int, int])
    """gfn >> 9 to a mask of the gfns marked in that region."""
    _whole: dict[int, None] = field(default_factory=dict[int, None])
    """Regions that are marked as one 2-MiB entry, and not as 512 single ones."""

    def is_entry(self, gfn: Gfn) -> bool:
        """Whether the gfn is marked."""
        return bool(self._marked.get(gfn >> LARGE, 0) >> (gfn & (REGION - 1)) & 1)

    def is_large(self, gfn: Gfn) -> bool:
        """Whether the gfn lies in a 2-MiB entry: a touch brings all of it (A30)."""
        return gfn >> LARGE in self._whole

    def marked_in(self, gfn: Gfn, order: Order) -> Pages:
        """How many of 2^order gfns are marked."""
        return sum((self._marked.get(region, 0) & mask).bit_count() for region, mask in _parts(gfn, order))

    def has_room(self, gfn: Gfn, order: Order) -> bool:
        """Whether 2^order gfns can be marked within REGIONS_LIMIT; those marked again take no room."""
        regions = range(gfn >> LARGE, ((gfn + (1 << order) - 1) >> LARGE) + 1)
        return len(self._marked) + sum(one not in self._marked for one in regions) <= REGIONS_LIMIT

    def mark(self, gfn: Gfn, order: Order) -> None:
        """Mark 2^order gfns; the caller has seen that none of them is mapped."""
        for region, mask in _parts(gfn, order):
            before = self._marked.get(region, 0)
            # One object for every full mask: most regions are full, and an integer of 512 bits has 96 bytes
            self._marked[region] = _ALL if before | mask == _ALL else before | mask
            self.entries += mask.bit_count() - (before & mask).bit_count()
            if mask == _ALL:
                self._whole[region] = None
            else:
                self._whole.pop(region, None)

    def clear(self, gfn: Gfn, order: Order) -> None:
        """The gfns are no longer marked; a 2-MiB entry that is cut into is 512 single ones from then on."""
        for region, mask in _parts(gfn, order):
            before = self._marked.get(region, 0)
            if not before & mask:
                continue
            self.entries -= (before & mask).bit_count()
            self._whole.pop(region, None)
            if before & ~mask:
                self._marked[region] = before & ~mask
            else:
                del self._marked[region]

    def shatter(self, gfn: Gfn) -> None:
        """The 2-MiB entry becomes 512 single ones (remap_and_retry)."""
        self._whole.pop(gfn >> LARGE, None)

    def add(self, mfn: Mfn, order: Order) -> None:
        """p2m_pod_cache_add: an extent of order 0 or 9 joins the cache."""
        (self.supers if order else self.singles).append(mfn)
        self.count += 1 << order

    def take(self, order: Order) -> Mfn | None:
        """p2m_pod_cache_get: an extent of order 0 or 9. A 2-MiB extent is broken up for a single page."""
        if order:
            if not self.supers:
                return None
            self.count -= REGION
            return self.supers.pop()
        if not self.singles:
            if not self.supers:
                return None
            first = self.supers.pop()
            self.singles.extend(range(first + REGION - 1, first - 1, -1))
        self.count -= 1
        return self.singles.pop()

    def digest_parts(self) -> Iterator[bytes]:
        """Entries by gfn with their size, and the cache in order."""
        if not self.entries and not self.count:
            return
        yield struct.pack("<QQ", self.entries, self.count)
        for region in sorted(self._marked):
            yield struct.pack("<Q?", region, region in self._whole)
            yield self._marked[region].to_bytes(REGION >> 3, "little")
        for extents in (self.supers, self.singles):
            for mfn in extents:
                yield struct.pack("<Q", mfn)

    def marked_gfns(self) -> Pages:
        """How many gfns are marked, counted anew: entries, if all is well."""
        return sum(mask.bit_count() for mask in self._marked.values())


def _parts(gfn: Gfn, order: Order) -> Iterator[tuple[int, int]]:
    """The gfns by region of 512, each as (region, mask)."""
    end = gfn + (1 << order)
    while gfn < end:
        slot = gfn & (REGION - 1)
        here = min(REGION - slot, end - gfn)
        yield gfn >> LARGE, _ALL if here == REGION else ((1 << here) - 1) << slot
        gfn += here
