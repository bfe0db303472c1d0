"""dom0's balloon driver, as far as freemem needs it: give pages of dom0's own to the heap (L13, L15).

A toolstack runs in dom0, whose kernel knows its frames. Nobody tells them to this process, so it finds them:
dom0 was given its memory at boot in the largest blocks that fit, aligned to their size, so a few tries at the
multiples of that size, from the top of RAM down, meet one (each try that hits gives one page back).
"""

from __future__ import annotations

from typing import Final

from hypervisor.public.memory import CurrentReservation, DecreaseReservation, MaximumRamPage
from hypervisor.public.units import DOMID_DOM0, MAX_ORDER, PAGES_PER_MIB, Pages
from toolstack.interface import CountingWorld

DOM0_MINIMUM: Final[Pages] = 128 * PAGES_PER_MIB
"""LIBXL_MIN_DOM0_MEM: libxl sets no lower target (L15)."""


class Dom0Balloon:
    """Inflates only, as xl never gives memory back to dom0 by itself."""

    def __init__(self) -> None:
        self._next = -1
        """The next frame to give; -1 while none is known."""
        self._block_end = 0

    async def inflate(self, world: CountingWorld, pages: Pages, minimum: Pages) -> Pages:
        """Give `pages` back, or as many of them as are in one piece; how many it gave.

        0 when dom0 would keep less than `minimum`: libxl_set_memory_target answers ERROR_INVAL then.
        """
        current = (await world.hypercall(CurrentReservation(DOMID_DOM0))).ret
        if current - pages < minimum:
            return 0
        given = 0
        if self._next < 0:
            given = await self._find_block(world, current)
        wanted = min(pages - given, self._block_end - self._next)
        if self._next < 0 or wanted <= 0:
            return given
        reply = await world.hypercall(DecreaseReservation(DOMID_DOM0, ((self._next, wanted),)))
        self._next += max(reply.ret, 0)
        return given + max(reply.ret, 0)

    async def _find_block(self, world: CountingWorld, current: Pages) -> Pages:
        """Look for the largest block; pages given back in finding it (0 or 1)."""
        order = min(MAX_ORDER, current.bit_length() - 1)
        highest = (await world.hypercall(MaximumRamPage())).ret
        for first in range(highest >> order << order, -1, -1 << order):
            reply = await world.hypercall(DecreaseReservation(DOMID_DOM0, ((first, 1),)))
            if reply.ret == 1:
                self._next, self._block_end = first + 1, first + (1 << order)
                return 1
        return 0
