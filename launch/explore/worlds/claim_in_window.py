"""Recorded races `claim-in-window-*`: a claim by another while a claim on everything is filled (C14, C27)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import claim, leave_unclaimed, new_domain, populate
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

HUGE = 1_000_000
"""Pages: more than any small world's host has."""


class ClaimInWindow(SmallWorld):
    """Nothing is unclaimed at any time, so nothing may be granted."""

    name: ClassVar[str] = "claim-in-window-order0-small"
    about: ClassVar[str] = "one fills its claim on all memory with single pages, another claims 1 page"
    order: ClassVar[int] = 0
    extents: ClassVar[int] = 3
    pages: ClassVar[int] = 1
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """Two empty domains; all memory there is is claimed for the first."""
        owner, other = await new_domain(world), await new_domain(world)
        await leave_unclaimed(world, self.extents << self.order)
        await world.hypercall(ClaimPages(owner, self.extents << self.order))
        return owner, other

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The owner of the claim fills it in one call; the other tries twice."""
        owner, other = scene.facts
        return (
            Party("owner", (populate(owner, self.extents, self.order, note="done"),)),
            Party("intruder", (claim(other, self.pages, "claim", tries=2),)),
        )

    def after_step(self, scene: Scene) -> None:
        """No claim but the owner's."""
        pages = scene.host.domains[scene.facts[1]].outstanding_pages
        if pages and not scene.violations:
            scene.violate("claim beyond memory", f"{pages} pages were granted when none was unclaimed")

    def outcome(self, scene: Scene) -> str:
        """As the recordings name it."""
        return "claim-admitted-beyond-memory" if scene.violations else "every-claim-refused"


class HugeClaimInWindow(ClaimInWindow):
    """Free - claims is unsigned: a negative one admits any size."""

    name: ClassVar[str] = "claim-in-window-order0-huge"
    about: ClassVar[str] = f"one fills its claim on all memory with single pages, another claims {HUGE} pages"
    pages: ClassVar[int] = HUGE


class ClaimInWindowOfSuperpages(ClaimInWindow):
    """The window is an extent wide."""

    name: ClassVar[str] = "claim-in-window-order9-small"
    about: ClassVar[str] = "one fills its claim on all memory with superpages, another claims 1 page"
    order: ClassVar[int] = 9
    extents: ClassVar[int] = 2
    host = HostConfig((3072,), dom0_pages=512, xen_pages=256, low_mem_virq_pages=0)


class HugeClaimInWindowOfSuperpages(ClaimInWindowOfSuperpages):
    """Both."""

    name: ClassVar[str] = "claim-in-window-order9-huge"
    about: ClassVar[str] = f"one fills its claim on all memory with superpages, another claims {HUGE} pages"
    pages: ClassVar[int] = HUGE
