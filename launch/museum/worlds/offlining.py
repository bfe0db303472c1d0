"""Frames are taken out of service while all free memory is claimed (C28, N7, W9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import Frames
from hypervisor.public.memory import ClaimPages, DecreaseReservation, PopulatePhysmap
from hypervisor.public.offlining import PAGE_OFFLINE, PageOfflineOp
from hypervisor.public.units import DomId, Mfn
from hypervisor.public.world import World
from launch.explore.programs import leave_unclaimed, new_domain, populate
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

FREE = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What the set-up made."""

    domid: DomId
    frame: Mfn
    """Free when the exploration begins."""


class OfflinedUnderClaim(SmallWorld):
    """What is claimed is no more than what is left, whatever goes out of service."""

    name: ClassVar[str] = "offlined-under-claim"
    about: ClassVar[str] = "one fills its claim on all memory while a frame is taken out of service"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> Facts:
        """A claim on all free memory, and the number of a free frame."""
        domid, giver = await new_domain(world), await new_domain(world)
        taken = (await world.hypercall(PopulatePhysmap(giver, ((0, 1),)))).value
        assert isinstance(taken, Frames)
        frame = taken.extents[0][0]
        await leave_unclaimed(world, FREE - 1)
        await world.hypercall(DecreaseReservation(giver, ((frame, 1),)))
        await world.hypercall(ClaimPages(domid, FREE))
        return Facts(domid, frame)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The builder, and the administrator who was told of a bad module."""
        facts: Facts = scene.facts

        async def offline(world: World, scene: Scene) -> None:
            await world.hypercall(PageOfflineOp(PAGE_OFFLINE, facts.frame, facts.frame))

        return (
            Party("builder", (populate(facts.domid, 1, calls=FREE),)),
            Party("administrator", (offline,)),
        )
