"""The last superpage of a build: the claim alone is too small for it (C17 b)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import leave_unclaimed, new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld
from launch.museum.programs import fill

ORDER = 2
CLAIM = 3
"""One page less than the extent: a domain takes a little more than was claimed for it."""
OTHERS = 2
UNCLAIMED = 2


class HalfCovered(SmallWorld):
    """A claim of 3 pages, 2 more that nobody claims, and an extent of 4."""

    name: ClassVar[str] = "half-covered"
    about: ClassVar[str] = "one asks for an extent that its claim and unclaimed memory cover together"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """Two empty domains with a claim each, and a little beside."""
        domids = await new_domain(world), await new_domain(world)
        await leave_unclaimed(world, CLAIM + OTHERS + UNCLAIMED)
        await world.hypercall(ClaimPages(domids[0], CLAIM))
        await world.hypercall(ClaimPages(domids[1], OTHERS))
        return domids

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Each builder takes no more than is its own and nobody's."""
        owner, other = scene.facts
        return (
            Party("builder", (fill(owner, 1, ORDER),)),
            Party("other builder", (fill(other, OTHERS),)),
        )
