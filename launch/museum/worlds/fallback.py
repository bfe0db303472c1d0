"""A builder that tries a superpage, then single pages, while somebody else takes memory (C23)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.memory import ClaimPages, PopulatePhysmap
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import leave_unclaimed, new_domain, populate
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party, SmallWorld
from launch.museum.programs import fill

PAGES = 3
FREE = 5


class Fallback(SmallWorld):
    """Three pages are claimed for a domain that may have three; two extents of two do not fit into it."""

    name: ClassVar[str] = "fallback"
    about: ClassVar[str] = "a builder falls back to single pages of its claim while another domain populates"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """The claimed domain, and an empty one."""
        domids = await new_domain(world, max_pages=PAGES), await new_domain(world)
        await leave_unclaimed(world, FREE)
        await world.hypercall(ClaimPages(domids[0], PAGES))
        return domids

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The builder, and one that takes what is unclaimed and one page more if it gets it."""
        built, other = scene.facts
        return (
            Party("builder", (superpages_first(built),)),
            Party("other", (populate(other, 1, calls=FREE - PAGES + 1),)),
        )


def superpages_first(domid: DomId) -> Act:
    """Extents of two pages as far as they come, single pages for the rest (L6)."""

    async def act(world: World, scene: Scene) -> None:
        done = 0
        while done < PAGES:
            if (await world.hypercall(PopulatePhysmap(domid, ((done, 1),), 1))).ret != 1:
                break
            done += 2
        await fill(domid, PAGES - done, at=done)(world, scene)

    return act
