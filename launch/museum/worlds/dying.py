"""A domain is destroyed while somebody claims for it (C9, C30)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import claim, new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

PAGES = 4


class ClaimOnDying(SmallWorld):
    """One toolstack gives a domain up while another has not heard of it."""

    name: ClassVar[str] = "claim-on-dying"
    about: ClassVar[str] = "one destroys a domain, another claims for it"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> DomId:
        """A domain that holds a few pages, so that its destruction takes steps."""
        return await new_domain(world, populated=((0, PAGES),))

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The one that destroys, the one that claims."""

        async def destroy(world: World, scene: Scene) -> None:
            await world.hypercall(DestroyDomain(scene.facts))

        return (
            Party("destroyer", (destroy,)),
            Party("claimer", (claim(scene.facts, 2 * PAGES, "claim"),)),
        )

    def at_end(self, scene: Scene) -> None:
        """When the domain has gone nothing is promised to anybody (I10)."""
        left = scene.host.outstanding_claims
        if left:
            scene.violate(
                "claim left behind", f"{left} pages are claimed, and no domain is left to have them"
            )
