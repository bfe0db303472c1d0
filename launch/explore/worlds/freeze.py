"""Recorded race `freeze-vs-populate`: sample tot_pages and set max_pages to it while the domain grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import MaxMem
from hypervisor.public.units import DomId, pages_to_kib
from hypervisor.public.world import World
from launch.explore.programs import domain_info, new_domain, populate
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party, SmallWorld


class Freeze(SmallWorld):
    """The seed's item 4 with nothing around it."""

    name: ClassVar[str] = "freeze-vs-populate"
    about: ClassVar[str] = "one samples tot_pages and sets max_pages to it, another populates the domain"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> DomId:
        """A domain of four pages that may have more."""
        return await new_domain(world, populated=((0, 4),))

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The one that freezes, the one that populates page by page."""
        return (
            Party("freezer", (freeze(scene.facts),)),
            Party("populater", (populate(scene.facts, 1, calls=2), populate(scene.facts, 1))),
        )

    def after_step(self, scene: Scene) -> None:
        """A domain above its limit was not frozen at what was sampled."""
        domain = scene.host.domains[scene.facts]
        if domain.tot_pages > domain.max_pages and not scene.violations:
            scene.violate(
                "grown before it was frozen",
                f"domain {domain.domid} was sampled at {domain.max_pages} pages and holds {domain.tot_pages}",
            )

    def outcome(self, scene: Scene) -> str:
        """As the recordings name it."""
        return "grew-between-sample-and-setmaxmem" if scene.violations else "frozen-at-sample"


def freeze(domid: DomId) -> Act:
    """Sample, clamp."""

    async def act(world: World, scene: Scene) -> None:
        tot_pages = (await domain_info(world, domid)).tot_pages
        await world.hypercall(MaxMem(domid, pages_to_kib(tot_pages)))

    return act
