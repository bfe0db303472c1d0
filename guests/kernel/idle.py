"""An idle guest's ticks, left out: looking again at a demand that cannot have changed changes nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from guests.config import ConstantSpec, GuestConfig
from hypervisor.public.units import Seconds
from hypervisor.public.world import CancelledError, Task, World

LONGEST: Final[Seconds] = 3600.0
"""Emulated seconds between two looks, however idle."""


class Nap:
    """Sleeps through ticks until somebody wakes it, and is back on the grid of ticks then."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._task: Task[None] | None = None

    async def take(self, tick: Seconds) -> None:
        """Return at a whole number of ticks from now: the first after `wake`, or when LONGEST is over."""
        begun = self._world.now()
        nap = self._task = self._world.spawn(self._doze(), "idle")
        try:
            await nap
        except CancelledError:
            if not nap.done():
                raise  # the guest itself is ended, not its nap before it had begun
        self._task = None
        late = (self._world.now() - begun) % tick
        if late:
            await self._world.sleep(tick - late)

    async def _doze(self) -> None:
        with suppress(CancelledError):
            await self._world.sleep(LONGEST)

    def wake(self) -> None:
        """Something has changed."""
        if self._task is not None:
            self._task.cancel()


def is_steady(config: GuestConfig) -> bool:
    """Whether nothing but the toolstack and the balloon's own troubles ever changes what this guest does."""
    busy = config.frontswap or config.cleancache or config.files is not None or config.shared
    return isinstance(config.workload, ConstantSpec) and config.selfballoon is None and not busy
