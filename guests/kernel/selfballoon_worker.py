"""selfballoon_process(): the worker that moves the balloon without anybody's order (G9, G13)."""

from guests.config import SelfBalloonSpec
from guests.kernel.balloon import BalloonDriver
from guests.kernel.memory import GuestMemory
from guests.kernel.paging import Paging
from guests.selfballoon import SelfBalloon, Selfshrink
from hypervisor.public.units import Pages
from hypervisor.public.world import World


class SelfBalloonWorker:
    """Every `interval` seconds: a new target, and frontswap shrunk when it has not grown."""

    def __init__(
        self,
        world: World,
        spec: SelfBalloonSpec,
        static_max: Pages,
        memory: GuestMemory,
        balloon: BalloonDriver,
        paging: Paging,
    ) -> None:
        self._world = world
        self._interval = spec.interval
        self._memory = memory
        self._balloon = balloon
        self._paging = paging
        self._sizing = SelfBalloon(
            static_max,
            spec.down_hysteresis,
            spec.up_hysteresis,
            spec.min_usable,
            spec.reserved,
            lambda: paging.frontswap_pages,
        )
        self._selfshrink = Selfshrink()

    async def follow(self) -> None:
        """For ever."""
        while True:
            await self._world.sleep(self._interval)
            target = self._sizing.target(self._memory.wanted, self._balloon.current_pages)
            if target is not None:
                self._balloon.set_new_target(target)
            shrunk = self._selfshrink.target(self._paging.frontswap_pages)
            if shrunk is not None:
                self._paging.shrink_frontswap(shrunk)
