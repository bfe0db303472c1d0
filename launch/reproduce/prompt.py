"""A scheme around a scheme, which says that a launch has failed when that is known.

A toolstack answers after it has put everything back; what it does by then belongs to no race.
"""

from __future__ import annotations

from typing import Any

from launch.explore.scene import Scene
from toolstack.interface import CountingWorld, Launch, Scheme


class Prompt(Scheme):
    """Does what the scheme in it does."""

    def __init__(self, scheme: Scheme, scene: Scene, name: str) -> None:
        super().__init__({})
        self._scheme = scheme
        self._scene = scene
        self._name = name

    async def admit_before_create(self, launch: Launch) -> bool:
        """See `Scheme`."""
        return await self._scheme.admit_before_create(launch)

    async def admit_at_claim(self, launch: Launch, pages: int) -> None:
        """See `Scheme`."""
        await self._scheme.admit_at_claim(launch, pages)

    async def release(self, launch: Launch) -> None:
        """The first thing that is done about a launch that cannot be finished, and about one that is."""
        if launch.admitted and not launch.built:
            self._scene.violate(
                "late failure",
                f"{self._name} was admitted, and its build ended with {launch.populated} of {launch.pages} "
                "pages in place",
            )
        await self._scheme.release(launch)

    async def serve(self, world: CountingWorld) -> None:
        """See `Scheme`."""
        await self._scheme.serve(world)

    def notes(self) -> dict[str, Any]:
        """See `Scheme`."""
        return self._scheme.notes()
