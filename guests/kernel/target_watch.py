"""memory/target: how a toolstack moves the balloon (Linux drivers/xen/xen-balloon.c, G7)."""

from collections.abc import Callable
from typing import Final, Literal

from guests.kernel.hypercalls import Hypercalls
from hypervisor.public.requests import WatchEvent
from hypervisor.public.units import Pages, kib_to_pages
from hypervisor.public.world import World
from hypervisor.public.xenstore import (
    StoreRead,
    StoreText,
    StoreWatch,
    StoreWrite,
    feature_balloon_path,
    memory_target_path,
    static_max_path,
)

TOKEN: Final = "memory/target"


class TargetWatch:
    """Follows memory/target (KiB) and hands it, in pages less `target_diff`, to `set_new_target`.

    target_diff is static-max less the balloon's first target, which is all the RAM the guest's kernel
    counts (`ram_pages`): video memory and the like, which only the toolstack counts. 0 for a PV guest.
    """

    def __init__(
        self,
        world: World,
        calls: Hypercalls,
        kind: Literal["hvm", "pv"],
        ram_pages: Pages,
        set_new_target: Callable[[Pages], object],
    ) -> None:
        self._world = world
        self._path = memory_target_path(world.domid)
        self._calls = calls
        self._kind = kind
        self._ram_pages = ram_pages
        self._set_new_target = set_new_target
        self._target_diff: Pages | None = None

    async def boot(self) -> None:
        """Write control/feature-balloon, set the watch, and take the target that stands there already.

        A new watch fires once at once, so this comes back without a word from the toolstack.
        """
        await self._calls.store(StoreWrite(feature_balloon_path(self._world.domid), "1"))
        await self._calls.store(StoreWatch(self._path, TOKEN))
        await self._next_fire()

    async def follow(self) -> None:
        """Take every later target, for ever."""
        while True:
            await self._next_fire()

    async def _next_fire(self) -> None:
        while True:
            event = await self._world.next_event()
            if isinstance(event, WatchEvent) and event.token == TOKEN:
                await self._fired()
                return

    async def _fired(self) -> None:
        pages = await self._read_pages(self._path)
        if pages is None:  # the toolstack has not written it yet: another watch event will come
            return
        if self._target_diff is None:
            self._target_diff = await self._find_target_diff()
        self._set_new_target(max(0, pages - self._target_diff))

    async def _find_target_diff(self) -> Pages:
        if self._kind == "pv":
            return 0
        static_max = await self._read_pages(static_max_path(self._world.domid))
        return 0 if static_max is None else max(0, static_max - self._ram_pages)

    async def _read_pages(self, path: str) -> Pages | None:
        """The node's KiB as whole pages; None when it is absent or holds no number."""
        reply = await self._calls.store(StoreRead(path))
        if not isinstance(reply.value, StoreText) or not reply.value.value.strip().isdecimal():
            return None
        return kib_to_pages(int(reply.value.value))
