"""The real balloon driver of guests/kernel in a small world, without the programs of a guest."""

from __future__ import annotations

from guests.behaviours import make_behaviour
from guests.kernel.balloon import BalloonDriver
from guests.kernel.frames import PageNames
from guests.kernel.hypercalls import Hypercalls
from guests.kernel.memory import GuestMemory
from guests.kernel.schedule import RetrySchedule
from guests.kernel.target_watch import TargetWatch
from guests.kernel.work import Body
from guests.report import Counters
from hypervisor.public.units import Pages, Runs
from hypervisor.public.world import World
from launch.explore.scene import Scene


class BalloonedGuest:
    """An HVM guest of which only the balloon moves: `boot` before the exploration, `follow` in it."""

    def __init__(self, frames: Runs, static_max: Pages) -> None:
        """`frames`: the gfns that it has; it can have `static_max` pages."""
        self._frames = frames
        self._static_max = static_max
        self._watch: TargetWatch | None = None

    async def boot(self, world: World, _scene: Scene) -> None:
        """Advertise the balloon driver and take the target that stands there."""
        counters = Counters()
        calls = Hypercalls(world, counters)
        names = PageNames("hvm", self._frames, self._static_max)
        memory = GuestMemory(names.owned, 0, counters, world.now())
        balloon = BalloonDriver(
            world, calls, names, memory, make_behaviour("ideal"), counters, RetrySchedule(), _unguarded
        )
        self._watch = TargetWatch(world, calls, "hvm", self._static_max, balloon.set_new_target)
        await self._watch.boot()

    async def follow(self, _world: World, _scene: Scene) -> None:
        """Every later target, for ever."""
        assert self._watch is not None
        await self._watch.follow()


async def _unguarded(body: Body) -> None:
    await body()
