"""One after the other: bodies that must not interleave although each awaits hypercalls."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hypervisor.public.world import Task, World
from toolstack.interface import CountingWorld

T = TypeVar("T")


class InTurn:
    """Runs what it is given in the order in which it was asked, each to its end."""

    def __init__(self) -> None:
        self._last: Task[Any] | None = None

    async def run(self, world: World | CountingWorld, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the body returns; it is made when its turn comes.

        A caller that is cancelled while it waits does not stop it.
        """
        previous = self._last

        async def turn() -> T:
            if previous is not None:
                with suppress(Exception):  # whoever asked for it has been told
                    await previous
            return await body()

        task = world.spawn(turn(), "in turn")
        self._last = task
        return await task
