"""What a kernel does with pages that memory has no room for: page cache, cleancache, frontswap, swap."""

from guests.config import GuestConfig
from guests.kernel.cleancache import Cleancache
from guests.kernel.frames import PageNames
from guests.kernel.hypercalls import Hypercalls
from guests.kernel.memory import GuestMemory
from guests.kernel.reader import Reader
from guests.kernel.swap import DiskSwap, Frontswap, Pager
from guests.kernel.tmem_queue import TmemQueue
from guests.kernel.work import Guard
from guests.report import Counters
from hypervisor.public.tmem import TMEM_EPHEMERAL, TMEM_PERSISTENT, TmemNewPool
from hypervisor.public.units import Pages, runs_length
from hypervisor.public.world import Task, World


class Paging:
    """The guest's memory and its pools of tmem, put together as its configuration asks."""

    def __init__(
        self, world: World, config: GuestConfig, names: PageNames, counters: Counters, guard: Guard
    ) -> None:
        self._world = world
        self._config = config
        self._guard = guard
        self._task: Task[None] | None = None
        # One call in flight, whatever the balloon has: see `TmemQueue`.
        self._queue = TmemQueue(world, Hypercalls(world, counters, 1, config.batch), guard)
        self._frontswap: Frontswap | None = None
        if config.frontswap:
            self._frontswap = Frontswap(
                self._queue,
                names.anchor,
                counters,
                (world.domid & 0xFFFF) << 48,
                linger=config.selfballoon is not None,
            )
        self._cleancache = Cleancache(self._queue, names.anchor, counters)
        pager: Pager = self._frontswap or DiskSwap(counters)
        self.memory = GuestMemory(
            runs_length(config.frames), config.swap, counters, max(0.0, world.now()), pager
        )
        self._reader: Reader | None = None
        if config.files is not None:
            self._reader = Reader(
                world,
                config.files,
                config.tick,
                self.memory,
                self._cleancache,
                self._queue,
                counters,
                config.seed,
            )

    @property
    def frontswap_pages(self) -> Pages:
        """Pages of the guest's own that lie in tmem: part of its tot_pages, not of its memory (G18)."""
        return 0 if self._frontswap is None else self._frontswap.pages

    def shrink_frontswap(self, target: Pages) -> None:
        """frontswap_shrink(): back into memory, as far as there is room."""
        if self._frontswap is not None:
            self._frontswap.shrink(target)
            self.memory.take_back(self._world.now())
            self._queue.pump()

    async def boot(self) -> None:
        """Make the pools. Where there is no tmem, there are none, and everything goes to disk."""
        if self._config.cleancache:
            self._cleancache.pool_id = await self._new_pool(TMEM_EPHEMERAL)
        if self._frontswap is not None:
            self._frontswap.pool_id = await self._new_pool(TMEM_PERSISTENT)

    async def _new_pool(self, flags: int) -> int | None:
        pool_id = (await self._queue.ask(TmemNewPool(flags))).ret
        return pool_id if pool_id >= 0 else None

    def start(self) -> None:
        """Programs begin to read files."""
        if self._reader is not None:
            self._task = self._world.spawn(self._guard(self._reader.follow), "reader")

    def reclaim(self) -> None:
        """Memory has changed: evict what has no room, and have what was swapped stored or loaded."""
        if self._reader is not None:
            self._reader.reclaim()
        self._queue.pump()

    async def reclaimed(self) -> None:
        """As `reclaim`, and wait: the pages are free only when their contents are elsewhere."""
        self.reclaim()
        await self._queue.drained()

    def stop(self) -> None:
        """End what runs."""
        self._queue.stop()
        if self._task is not None:
            self._task.cancel()
