"""The first use of memory that a guest was started without: cache pages move to the physmap (A30)."""

from __future__ import annotations

from guests.config import GuestConfig
from guests.kernel.hypercalls import Hypercalls
from guests.kernel.memory import GuestMemory
from hypervisor.public.access import WritePage
from hypervisor.public.units import Gfn, Pages
from hypervisor.public.world import World

STRIDE: Pages = 512
"""One touch brings a whole 2-MiB extent while the cache has one; only that is asked for."""


class FirstTouches:
    """Writes to one gfn of every 2 MiB, from the lowest on, as far as the programs' memory ever reached.

    With the cache empty, because the balloon is not down yet, such a write crashes the domain.
    """

    def __init__(self, world: World, calls: Hypercalls, config: GuestConfig, memory: GuestMemory) -> None:
        self._world = world
        self._calls = calls
        self._config = config
        self._memory = memory

    async def run(self) -> None:
        """Look at every tick how far the programs have come."""
        places = self._places()
        touched = 0
        while touched < len(places):
            reached = min(len(places), -(-self._memory.resident // STRIDE))
            if touched < reached:
                content = 1 + self._world.domid
                await self._calls.in_turn([WritePage(gfn, content) for gfn in places[touched:reached]])
                touched = reached
            await self._world.sleep(self._config.tick)

    def _places(self) -> list[Gfn]:
        return [gfn for first, count in self._config.frames for gfn in range(first, first + count, STRIDE)]
