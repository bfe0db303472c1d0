"""Linux's delayed work: a function that is queued at most once and never runs beside itself."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

from hypervisor.public.units import Seconds
from hypervisor.public.world import Task, World

Body: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Guard: TypeAlias = Callable[[Body], Coroutine[Any, Any, None]]
"""Runs a body and sees to what it raises. It is given the function, not the coroutine: a task that is
cancelled before it starts would leave a coroutine behind that nobody awaits."""


class DelayedWork:
    """schedule_delayed_work(): a work that is queued already keeps the time it was queued for."""

    def __init__(
        self,
        world: World,
        function: Body,
        guard: Guard,
        name: str,
    ) -> None:
        self._world = world
        self._function = function
        self._guard = guard
        self._name = name
        self._tasks: list[Task[None]] = []
        self._again = False
        self.pending = False
        self.imminent = False
        """Queued without a delay."""
        self.running = False

    def schedule(self, delay: Seconds) -> bool:
        """Queue the work `delay` emulated seconds from now; False when it is queued already."""
        if self.pending:
            return False
        self.pending = True
        self.imminent = not delay
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(self._world.spawn(self._guard(partial(self._after, delay)), self._name))
        return True

    def cancel(self) -> None:
        """Stop the work, queued or running. Not to be called from within it."""
        for task in self._tasks:
            task.cancel()

    async def _after(self, delay: Seconds) -> None:
        await self._world.sleep(delay)
        if self.running:
            self._again = True  # and still pending, until the run that is under way has ended
            return
        self.running = True
        try:
            await self._run()
        finally:
            self.running = False

    async def _run(self) -> None:
        await self._once()
        while self._again:
            self._again = False
            await self._once()

    async def _once(self) -> None:
        self.pending = self.imminent = False
        await self._function()
