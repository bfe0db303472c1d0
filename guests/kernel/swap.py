"""Where swapped pages lie: on disk, or first in tmem through frontswap (G15; Linux mm/frontswap.c)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from typing import Final, Protocol

from guests.kernel.tmem_queue import TmemQueue
from guests.report import Counters
from hypervisor.public.requests import Reply
from hypervisor.public.tmem import Oid, TmemFlushPage, TmemGetPage, TmemPage, TmemPutPage
from hypervisor.public.units import Pages

SLOT_BITS: Final = 4
"""Low bits of a swap offset that choose the object: 16 objects for each swap device (G15)."""


class Pager(Protocol):
    """Told by `GuestMemory` of every page that goes to swap or leaves it."""

    @property
    def lingering(self) -> Pages:
        """Swapped pages that nobody needs now: they stay where they are though memory is free."""
        ...

    def out(self, pages: Pages) -> None:
        """So many pages are swapped out."""
        ...

    def back(self, pages: Pages) -> None:
        """So many pages are swapped in, none of those that linger."""
        ...

    def drop(self, pages: Pages) -> None:
        """Programs let go of so many swapped pages."""
        ...


class DiskSwap:
    """A swap device without frontswap."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    @property
    def lingering(self) -> Pages:
        """None: a program that waits for its pages gets them as soon as there is room."""
        return 0

    def out(self, pages: Pages) -> None:
        """Written."""
        self._counters.disk_swap_out += pages

    def back(self, pages: Pages) -> None:
        """Read."""
        self._counters.disk_swap_in += pages

    def drop(self, pages: Pages) -> None:
        """Nothing to do."""


@dataclass(slots=True, eq=False)
class _Page:
    slot: int
    content: int
    refused: bool = False


class Frontswap:
    """A swap device behind one private persistent pool of tmem.

    A store that is refused goes to disk (G15). What stands in a slot is a number never used before, so a load
    that brings anything else is found out: `stale_pages`, or `lost_pages` when the page is not there at all.
    """

    def __init__(
        self,
        queue: TmemQueue,
        frame: Callable[[], int],
        counters: Counters,
        first_content: int,
        *,
        linger: bool,
    ) -> None:
        """`frame`: one that can be copied from. `linger`: pages come back by `shrink` alone (G13)."""
        self._queue = queue
        self._frame = frame
        self._counters = counters
        self._content = first_content
        self._linger = linger
        self._called_back: Pages = 0
        self._stored: dict[int, _Page] = {}  # in tmem, or on the way there; oldest first
        self._on_disk: dict[int, _Page] = {}
        self._free: list[int] = []  # a heap of slots below _slots
        self._slots = 0
        self.pool_id: int | None = None
        """None until there is a pool: every store is refused."""

    @property
    def pages(self) -> Pages:
        """frontswap_curr_pages()."""
        return len(self._stored)

    @property
    def lingering(self) -> Pages:
        """Pages in tmem, but for those that selfshrinking has called back."""
        return max(0, len(self._stored) - self._called_back) if self._linger else 0

    def shrink(self, target: Pages) -> None:
        """frontswap_shrink(): all but `target` pages are to come back as soon as there is room."""
        self._called_back = max(0, len(self._stored) - target)

    def out(self, pages: Pages) -> None:
        """Store each in tmem; what is refused is written to disk instead."""
        for _ in range(pages):
            self._content += 1
            page = _Page(self._take_slot(), self._content)
            if self.pool_id is None:
                self._on_disk[page.slot] = page
                self._counters.disk_swap_out += 1
                continue
            self._stored[page.slot] = page
            oid, index = _place(page.slot)
            request = TmemPutPage(self.pool_id, oid, index, self._frame(), page.content)
            self._queue.add(request, partial(self._after_store, page))

    def back(self, pages: Pages) -> None:
        """Load each: those on disk first, then the youngest in tmem."""
        for _ in range(pages):
            place = self._on_disk or self._stored
            _, page = place.popitem()
            if place is self._on_disk:
                self._counters.disk_swap_in += 1
            else:
                self._called_back = max(0, self._called_back - 1)
                self._load(page)
                self._invalidate(page)
            heappush(self._free, page.slot)

    def drop(self, pages: Pages) -> None:
        """Invalidate each, those on disk first."""
        for _ in range(pages):
            place = self._on_disk or self._stored
            page = place.pop(next(iter(place)))
            if place is self._stored:
                self._invalidate(page)
            heappush(self._free, page.slot)

    def _take_slot(self) -> int:
        if self._free:
            return heappop(self._free)
        self._slots += 1
        return self._slots - 1

    def _after_store(self, page: _Page, reply: Reply) -> None:
        if reply.ret == 1:
            self._counters.frontswap_stores += 1
            return
        self._counters.frontswap_refused += 1
        self._counters.disk_swap_out += 1
        page.refused = True
        if self._stored.get(page.slot) is page:
            del self._stored[page.slot]
            self._on_disk[page.slot] = page

    def _load(self, page: _Page) -> None:
        assert self.pool_id is not None
        oid, index = _place(page.slot)
        request = TmemGetPage(self.pool_id, oid, index, self._frame())
        self._queue.add(request, partial(self._after_load, page))

    def _after_load(self, page: _Page, reply: Reply) -> None:
        if page.refused:  # its store was still on the way when it was wanted back
            self._counters.disk_swap_in += 1
        elif not isinstance(reply.value, TmemPage):
            self._counters.lost_pages += 1
        elif reply.value.content != page.content:
            self._counters.stale_pages += 1
        else:
            self._counters.frontswap_loads += 1

    def _invalidate(self, page: _Page) -> None:
        assert self.pool_id is not None
        oid, index = _place(page.slot)
        self._queue.add(TmemFlushPage(self.pool_id, oid, index), _ignore)


def _place(slot: int) -> tuple[Oid, int]:
    """Object and index in swap device 0: oid[0] = (type << 4) | (offset & 15), index = offset >> 4."""
    return (slot & ((1 << SLOT_BITS) - 1), 0, 0), slot >> SLOT_BITS


def _ignore(_reply: Reply) -> None:
    """A flush acts whatever it answers (T12)."""
