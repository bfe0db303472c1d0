"""Two toolstacks launch at the same time, by default with claims; nothing else goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.orders import LaunchOrder
from hypervisor.public.world import World
from launch.explore.launches import endings, toolstack
from launch.explore.programs import leave_unclaimed
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

EXTENT = 512
MARGIN = 1
"""Superpages beside: libxl wants to see more free than a domain takes (L10)."""
STRUCTURES = 64
"""More than what two domains cost."""


class ClaimRace(SmallWorld):
    """Free memory is enough for `fit` of the two launches."""

    name: ClassVar[str] = "claim-race"
    about: ClassVar[str] = "two toolstacks launch a domain each at the same time"
    scheme: ClassVar[str | None] = "claim"
    host = HostConfig((6144,), dom0_pages=512, xen_pages=256, low_mem_virq_pages=0)
    parameters: ClassVar[Mapping[str, int]] = {"fit": 1, "superpages": 2}

    async def set_up(self, world: World) -> None:
        """Nothing but a filler."""
        superpages = self.values["fit"] * self.values["superpages"] + MARGIN
        await leave_unclaimed(world, superpages * EXTENT + STRUCTURES)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Two processes, each with a scheme of its own."""
        pages = self.values["superpages"] * EXTENT
        return [
            toolstack(scene, f"toolstack {number}", LaunchOrder(number, pages, pages)) for number in (1, 2)
        ]

    def outcome(self, scene: Scene) -> str:
        """How both ended."""
        return endings(scene)
