"""Recorded race `claim-populate`: claim first, then populate. One is refused before it took a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import leave_unclaimed, new_domain, populate
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party, SmallWorld

FREE = 3
WANTED = 2


class ClaimPopulate(SmallWorld):
    """Each of two builders claims two thirds of what is unclaimed, and populates it if admitted."""

    name: ClassVar[str] = "claim-populate"
    about: ClassVar[str] = "two builders claim two thirds of unclaimed memory each, then populate"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """Two empty domains and `FREE` pages."""
        domids = await new_domain(world), await new_domain(world)
        await leave_unclaimed(world, FREE)
        return domids

    def parties(self, scene: Scene) -> Sequence[Party]:
        """One program in dom0 for each domain."""
        return [Party(f"builder of {domid}", (build(domid),)) for domid in scene.facts]

    def at_end(self, scene: Scene) -> None:
        """A claim that was granted is a promise."""
        for domid in scene.facts:
            done = scene.notes.get(f"done {domid}", WANTED)
            if done < WANTED:
                scene.violate("short", f"domain {domid} had claimed {WANTED} pages and got {done}")

    def outcome(self, scene: Scene) -> str:
        """As the recordings name it."""
        done = [scene.notes[f"done {domid}"] for domid in scene.facts if f"done {domid}" in scene.notes]
        if done == [WANTED]:
            return "one-admitted-and-complete"
        return f"{len(done)}-admitted, pages {done}"


def build(domid: DomId) -> Act:
    """Claim, and if admitted, take it."""

    async def act(world: World, scene: Scene) -> None:
        if (await world.hypercall(ClaimPages(domid, WANTED))).ret == 0:
            scene.note(f"done {domid}", 0)
            await populate(domid, 1, calls=WANTED, note=f"done {domid}")(world, scene)

    return act
