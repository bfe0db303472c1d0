"""A page of a domain that holds a claim on all free memory becomes sharable (S6, C28)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import CDF_HAP, CDF_HVM
from hypervisor.public.memory import ClaimPages
from hypervisor.public.sharing import SharingNominateGfn
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import leave_unclaimed, new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld
from launch.museum.programs import fill

HELD = 2
FREE = 3


class NominatedUnderClaim(SmallWorld):
    """A page leaves tot_pages and does not become free."""

    name: ClassVar[str] = "nominated-under-claim"
    about: ClassVar[str] = "one fills its claim on all memory while a page of its domain becomes sharable"
    host = HostConfig((1024,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> DomId:
        """An HVM domain that holds `HELD` pages and a claim on the `FREE` others."""
        domid = await new_domain(world, flags=CDF_HVM | CDF_HAP, populated=((0, HELD),))
        await leave_unclaimed(world, FREE)
        await world.hypercall(ClaimPages(domid, HELD + FREE))
        return domid

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The builder, and the one that looks for pages to share."""

        async def nominate(world: World, scene: Scene) -> None:
            await world.hypercall(SharingNominateGfn(scene.facts, 0))

        return (
            Party("builder", (fill(scene.facts, FREE, at=HELD),)),
            Party("sharer", (nominate,)),
        )
