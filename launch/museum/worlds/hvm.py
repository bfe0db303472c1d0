"""An HVM domain is built with a claim while a guest grows (L5, W11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.orders import LaunchOrder
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.launches import endings, toolstack
from launch.explore.programs import grow, leave_unclaimed, new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

PAGES = 512
XENS_SHARE = 277
"""What this HVM domain costs beside its memory: structures and the paging pool."""
IN_PLACE = 480
"""tot_pages after the build: the VGA hole has no memory."""


class HvmBuild(SmallWorld):
    """Memory for the launch and nothing else."""

    name: ClassVar[str] = "hvm-build"
    about: ClassVar[str] = "an HVM domain is built with a claim while a guest grows by 64 pages"
    scheme: ClassVar[str | None] = "claim"
    host = HostConfig((2048,), dom0_pages=256, xen_pages=128, low_mem_virq_pages=0)

    def __init__(self, builder: str, **changes: int) -> None:
        """`builder`: which libxc builds it."""
        super().__init__(**changes)
        self._builder = builder

    async def set_up(self, world: World) -> DomId:
        """A running guest that may grow, and the memory of one launch."""
        guest = await new_domain(world, runs=True)
        await leave_unclaimed(world, XENS_SHARE + IN_PLACE)
        return guest

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The toolstack, the guest."""
        return (
            toolstack(scene, "toolstack", LaunchOrder(1, PAGES, PAGES, builder=self._builder)),
            Party("guest", (grow(4, 4),), domid=scene.facts),
        )

    def outcome(self, scene: Scene) -> str:
        """How the launch ended."""
        return endings(scene)
