"""Recorded races `observer-order0` and `observer-order9`: physinfo while a claim is drawn down (C27)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import DomId, Pages
from hypervisor.public.world import World
from launch.explore.programs import new_domain, populate, unclaimed
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

EXTENTS = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What the set-up made."""

    domid: DomId
    unclaimed: Pages
    """free - outstanding once the claim stands; filling the claim does not change it."""


class Observer(SmallWorld):
    """Filling a claim leaves free - outstanding as it is, whoever looks whenever."""

    name: ClassVar[str] = "observer-order0"
    about: ClassVar[str] = "one fills its claim with single pages, another reads physinfo"
    order: ClassVar[int] = 0
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> Facts:
        """A domain with a claim on `EXTENTS` extents."""
        domid = await new_domain(world)
        await world.hypercall(ClaimPages(domid, EXTENTS << self.order))
        return Facts(domid, await unclaimed(world))

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The one that fills its claim in one call, the one that looks, twice."""
        return (
            Party("filler", (populate(scene.facts.domid, EXTENTS, self.order),)),
            Party("observer", (look, look)),
        )

    def outcome(self, scene: Scene) -> str:
        """As the recordings name it."""
        return "saw-less-unclaimed-than-true" if scene.violations else "consistent"


class ObserverOfSuperpages(Observer):
    """The same with extents of 2 MiB."""

    name: ClassVar[str] = "observer-order9"
    about: ClassVar[str] = "one fills its claim with superpages, another reads physinfo"
    order: ClassVar[int] = 9
    host = HostConfig((3072,), dom0_pages=512, xen_pages=256, low_mem_virq_pages=0)


async def look(world: World, scene: Scene) -> None:
    """One physinfo."""
    seen, true = await unclaimed(world), scene.facts.unclaimed
    if seen != true:
        scene.violate("physinfo understates", f"{true} pages are unclaimed, physinfo said {seen}")
