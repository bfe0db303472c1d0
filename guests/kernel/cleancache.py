"""cleancache: clean pages that leave the page cache are offered to tmem, and asked for again (G14, G16)."""

from collections.abc import Callable
from functools import partial
from typing import Final

from guests.kernel.page_cache import FilePage
from guests.kernel.tmem_queue import TmemQueue
from guests.report import Counters
from hypervisor.public.requests import Reply
from hypervisor.public.tmem import (
    Oid,
    TmemFlushObject,
    TmemGetPage,
    TmemPage,
    TmemPutPage,
)
from hypervisor.public.units import UINT_MAX

MOST_INDEX: Final = UINT_MAX
"""A page index beyond 32 bits is not stored (G16)."""


class Cleancache:
    """One file system's private ephemeral pool: put on eviction, get on refault, flush on truncation."""

    def __init__(self, queue: TmemQueue, frame: Callable[[], int], counters: Counters) -> None:
        self._queue = queue
        self._frame = frame
        self._counters = counters
        self.pool_id: int | None = None
        """None: no pool, and every operation is passed over, as in Linux."""

    def put(self, page: FilePage, content: int) -> None:
        """cleancache_put_page(): the result is only counted."""
        if self.pool_id is not None and page.number <= MOST_INDEX:
            request = TmemPutPage(self.pool_id, _oid(page.file), page.number, self._frame(), content)
            self._queue.add(request, self._after_put)

    def get(self, page: FilePage, content: int, first_time: bool) -> None:
        """cleancache_get_page(): `content` is what the file holds, which a hit must bring."""
        if self.pool_id is not None and page.number <= MOST_INDEX:
            request = TmemGetPage(self.pool_id, _oid(page.file), page.number, self._frame())
            self._queue.add(request, partial(self._after_get, content, first_time))
        else:
            self._counters.file_reads += 1

    def flush_file(self, file: int) -> None:
        """cleancache_invalidate_inode()."""
        if self.pool_id is not None:
            self._queue.add(TmemFlushObject(self.pool_id, _oid(file)), self._after_flush)

    def _after_put(self, reply: Reply) -> None:
        self._counters.cleancache_puts += 1
        self._counters.cleancache_puts_refused += reply.ret != 1

    def _after_get(self, content: int, first_time: bool, reply: Reply) -> None:
        if isinstance(reply.value, TmemPage):
            self._counters.cleancache_hits += 1
            self._counters.stale_pages += reply.value.content != content
            return
        self._counters.file_reads += 1
        self._counters.cleancache_misses += not first_time

    def _after_flush(self, _reply: Reply) -> None:
        self._counters.cleancache_flushes += 1


def _oid(file: int) -> Oid:
    """The file's key: its inode number; 0 is none."""
    return (file + 1, 0, 0)
