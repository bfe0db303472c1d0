"""A toolstack that does not claim launches beside a builder that fills its claim (L11, W3, W15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.memory import ClaimPages
from hypervisor.public.orders import LaunchOrder
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.launches import endings, toolstack
from launch.explore.programs import leave_unclaimed, new_domain, populate
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

EXTENT = 512
CLAIM = 2
"""Superpages."""
UNCLAIMED = 24


class BesideClaim(SmallWorld):
    """Everything but a few pages is claimed, all the time."""

    name: ClassVar[str] = "beside-claim"
    about: ClassVar[str] = "a launch by a look at free memory while a builder fills its claim"
    scheme: ClassVar[str | None] = "naive"
    host = HostConfig((4096,), dom0_pages=512, xen_pages=256, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> DomId:
        """A claim of two superpages, and 24 pages beside."""
        domid = await new_domain(world)
        await leave_unclaimed(world, CLAIM * EXTENT + UNCLAIMED)
        await world.hypercall(ClaimPages(domid, CLAIM * EXTENT))
        return domid

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The launch, and the builder."""
        return (
            toolstack(scene, "toolstack", LaunchOrder(1, EXTENT, EXTENT)),
            Party("builder", (populate(scene.facts, CLAIM, 9),)),
        )

    def outcome(self, scene: Scene) -> str:
        """How the launch ended."""
        return endings(scene)
