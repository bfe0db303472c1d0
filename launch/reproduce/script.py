"""Recorded operations as the acts of a party.

An operation begins once those of its caller have returned that had returned before it began in the
recording: nobody learns here what it did not know there. So what a party does stays something that it
might have done, in whatever order others come in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from hypervisor.public.requests import Reply, Request
from hypervisor.public.world import RefusedByWireError, Task, World
from launch.explore.scene import Scene
from launch.explore.small_world import Act
from launch.reproduce.recording import Recorded


class Script:
    """One caller's operations, for one schedule."""

    def __init__(self, operations: Sequence[Recorded]) -> None:
        self._operations = operations
        self._under_way: list[tuple[Recorded, Task[None]]] = []
        self.stopped = False
        """It has learnt something that it had not in the recording, and nobody knows what it would do."""

    def acts(self) -> tuple[Act, ...]:
        """One for each operation. They only begin it: several may be under way."""
        return tuple(partial(self._act, one) for one in self._operations)

    async def whole(self, world: World, scene: Scene) -> None:
        """All of them as one act: a build without its createdomain is nobody's."""
        for one in self._operations:
            await self._act(one, world, scene)

    async def _act(self, one: Recorded, world: World, scene: Scene) -> None:
        for before, task in tuple(self._under_way):
            if before.last is not None and before.last < one.first:
                await task
                self._under_way.remove((before, task))
        if not self.stopped:
            body = self._do(one, world, scene)
            self._under_way.append((one, world.spawn(body, f"operation {one.number}")))

    async def _do(self, one: Recorded, world: World, scene: Scene) -> None:
        try:
            reply = await world.hypercall(self.request(one))
        except RefusedByWireError:
            self.stopped = True  # its domain is gone, and it with it
        else:
            self.replied(one, reply, scene)

    def request(self, one: Recorded) -> Request:
        """What is asked; for subclasses."""
        return one.request

    def replied(self, one: Recorded, reply: Reply, scene: Scene) -> None:
        """An answer has come; for subclasses."""
