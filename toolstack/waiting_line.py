"""A lock for coroutines, held over many awaits and given in the order in which it was asked for.

Unlike `InTurn` it runs nothing by itself: whoever holds it is cancelled where it stands, and leaves the line.
"""

from __future__ import annotations

from hypervisor.public.units import Seconds
from hypervisor.public.world import World
from toolstack.interface import CountingWorld


class WaitingLine:
    """The first in line holds the lock."""

    def __init__(self, look_seconds: Seconds) -> None:
        """`look_seconds`: emulated seconds between two looks at whether it is one's turn."""
        self._look = look_seconds
        self._line: list[object] = []

    async def enter(self, world: World | CountingWorld, who: object) -> None:
        """Queue up, and come back holding the lock. Whoever is cancelled meanwhile must still `leave`."""
        self._line.append(who)
        while self._line[0] != who:
            await world.sleep(self._look)

    def leave(self, who: object) -> None:
        """Give the lock to the next, or step out of the line; no effect for somebody who is not in it."""
        if who in self._line:
            self._line.remove(who)
