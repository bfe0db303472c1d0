"""Programs that read files: references by Zipf's law, refaults through cleancache, truncations."""

from random import Random
from typing import Final

from guests.config import FileSpec
from guests.kernel.cleancache import Cleancache
from guests.kernel.memory import GuestMemory
from guests.kernel.page_cache import FilePage, PageCache
from guests.kernel.tmem_queue import TmemQueue
from guests.report import Counters
from guests.zipf import Zipf
from hypervisor.public.units import Seconds
from hypervisor.public.world import World

READ_AHEAD: Final = 64
"""References made before the pages that were missing are waited for."""


class Reader:
    """References pages of files at a steady rate, and keeps the page cache within free memory.

    A program that waits for its pages makes no references meanwhile: the rate is what it would like, and what
    it got is `file_references`. Reads from the disk themselves take no time.
    """

    def __init__(
        self,
        world: World,
        spec: FileSpec,
        interval: Seconds,
        memory: GuestMemory,
        cleancache: Cleancache,
        queue: TmemQueue,
        counters: Counters,
        seed: int,
    ) -> None:
        self._world = world
        self._spec = spec
        self._interval = interval
        self._memory = memory
        self._cleancache = cleancache
        self._queue = queue
        self._counters = counters
        self._rng = Random(seed)
        self._zipf = Zipf(spec.pages, spec.exponent)
        self._cache = PageCache(spec.pages, spec.files, world.domid)

    def reclaim(self) -> None:
        """The page cache has what programs leave free: the rest is evicted, and offered to tmem (G14)."""
        for page in self._cache.evict_to(self._memory.free):
            self._cleancache.put(page, self._cache.content(page))

    async def follow(self) -> None:
        """Read for ever."""
        truncated = started = self._world.now()
        await self._world.sleep(self._interval)
        while True:
            now = self._world.now()
            due = int(min(now - started, self._interval) * self._spec.rate)
            started = now
            if self._spec.truncate_every is not None and now - truncated >= self._spec.truncate_every:
                truncated = now
                self._truncate()
            for first in range(0, due, READ_AHEAD):
                await self._refer(min(READ_AHEAD, due - first))
            await self._world.sleep(max(self._interval - (self._world.now() - now), 0.0))

    def _truncate(self) -> None:
        file = self._rng.randrange(self._cache.files)
        self._cache.truncate(file)
        self._cleancache.flush_file(file)

    async def _refer(self, references: int) -> None:
        missing: dict[FilePage, None] = {}
        for _ in range(references):
            page = self._cache.page(self._zipf.draw(self._rng))
            self._counters.file_references += 1
            if page in missing or self._cache.touch(page):
                self._counters.page_cache_hits += 1
            else:
                missing[page] = None
        for page in missing:
            self._cleancache.get(page, self._cache.content(page), self._cache.first_time(page))
        await self._queue.drained()
        for page in missing:
            self._cache.insert(page)
        self.reclaim()
        await self._queue.drained()
