"""Schedulers that keep their own books of what they have promised."""

from __future__ import annotations

from toolstack.in_turn import InTurn
from toolstack.interface import Launch, LaunchRefusedError, Scheme, read_host
from toolstack.promises import Promises


class Counting(Scheme):
    """Free memory less its own promises, one decision at a time; what is refused is struck out."""

    def __init__(self, parameters: object) -> None:
        """It takes no parameters."""
        super().__init__({})
        self._promises = Promises()
        self._in_turn = InTurn()

    async def admit_before_create(self, launch: Launch) -> bool:
        """Write it down, then look whether it fits."""
        await self._in_turn.run(launch.world, lambda: self._admit(launch))
        return True

    async def release(self, launch: Launch) -> None:
        """The build is over."""
        if launch.admitted:
            self._promises.remove(launch)

    async def _admit(self, launch: Launch) -> None:
        host, commit = await read_host(launch.world)
        free = host.free_pages - self._promises.pages
        self._assume(launch)
        if free < launch.need:
            self._reject(launch)
            raise LaunchRefusedError(f"{free} pages free, {launch.need} needed", commit)

    def _assume(self, launch: Launch) -> None:
        self._promises.add(launch)

    def _reject(self, launch: Launch) -> None:
        self._promises.remove(launch)


class RejectedCounts(Counting):
    """Whoever is rejected stays in the books (kubernetes 135296)."""

    def _reject(self, launch: Launch) -> None:
        pass


class NothingAssumed(Counting):
    """What was admitted counts when it has taken its memory, not before (kubernetes 76772, nova's race)."""

    def _assume(self, launch: Launch) -> None:
        pass
