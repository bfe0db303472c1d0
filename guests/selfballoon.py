"""Self-ballooning as arithmetic: Linux v3.10 to v5.2, drivers/xen/xen-selfballoon.c (G10-G13)."""

from collections.abc import Callable
from math import isqrt
from typing import Final

from hypervisor.public.units import KIB_PER_PAGE, PAGES_PER_MIB, Pages

FRONTSWAP_HYSTERESIS: Final = 20
FRONTSWAP_INERTIA: Final = 3


def totalreserve(ram: Pages) -> Pages:
    """totalreserve_pages of a kernel with `ram` pages: its high watermark, 1.5 x min_free_kbytes.

    mm/page_alloc.c computes min_free_kbytes as the root of 16 x lowmem in KiB, within 128..65,536.
    """
    min_free = min(max(isqrt(ram * KIB_PER_PAGE * 16), 128), 65_536) // KIB_PER_PAGE
    return min_free + min_free // 2


def usable_floor(static_max: Pages, min_usable: Pages) -> Pages:
    """The least that self-ballooning leaves: piecewise linear in the guest's size, or as told (G12)."""
    reserve = totalreserve(static_max)
    if min_usable:
        return reserve + min_usable
    useful = (static_max - reserve) // PAGES_PER_MIB
    if useful < 16:
        return static_max
    if useful < 64:
        return reserve + (16 + ((useful - 16) >> 1)) * PAGES_PER_MIB
    if useful < 512:
        return reserve + (40 + ((useful - 40) >> 3)) * PAGES_PER_MIB
    return reserve + (99 + ((useful - 99) >> 5)) * PAGES_PER_MIB


class SelfBalloon:
    """A `Sizing` to be asked once per selfballoon_interval: fast up, slow down (G11, G13a)."""

    def __init__(
        self,
        static_max: Pages,
        down_hysteresis: int = 8,
        up_hysteresis: int = 1,
        min_usable: Pages = 0,
        reserved: Pages = 0,
        frontswap_pages: Callable[[], Pages] = lambda: 0,
    ) -> None:
        """`frontswap_pages`: what is to find room when selfshrinking brings it back; 0 without frontswap."""
        self._down = down_hysteresis
        self._up = up_hysteresis
        self._margin = totalreserve(static_max) + reserved
        self._floor = usable_floor(static_max, min_usable)
        self._frontswap_pages = frontswap_pages

    def target(self, demand: Pages, current: Pages) -> Pages | None:
        """selfballoon_process(): `demand` is vm_committed_as; None leaves the target alone (G10-G12)."""
        goal = demand + self._margin + self._frontswap_pages()
        if current > goal:
            wanted = current - (current - goal) // self._down
        elif current < goal:
            wanted = current + (goal - current) // self._up
        else:
            return None
        return max(wanted, self._floor)


class Selfshrink:
    """frontswap_selfshrink(): once frontswap has not grown for a while, it gives up a twentieth (G13)."""

    def __init__(self) -> None:
        self._last: Pages = 0
        self._inertia = 0

    def target(self, pages: Pages) -> Pages | None:
        """What frontswap is to shrink to, of the `pages` it holds now; None: not at this tick."""
        grew = pages > self._last
        self._last = pages
        if not pages or grew:
            self._inertia = FRONTSWAP_INERTIA
            return None
        if self._inertia:
            self._inertia -= 1
            if self._inertia:
                return None
        return 0 if pages <= FRONTSWAP_HYSTERESIS else pages - pages // FRONTSWAP_HYSTERESIS
