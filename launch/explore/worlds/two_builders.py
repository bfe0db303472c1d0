"""Recorded races `check-populate` and `claim-populate`: two builders ask for admission, then populate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import DomId, Pages
from hypervisor.public.world import World
from launch.explore.programs import leave_unclaimed, new_domain, populate, unclaimed
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party, SmallWorld


class CheckPopulate(SmallWorld):
    """Admission is a look at free - outstanding, as before there were claims."""

    name: ClassVar[str] = "check-populate"
    about: ClassVar[str] = "two builders look at unclaimed memory, then populate three quarters of it each"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)
    free: ClassVar[Pages] = 4
    wanted: ClassVar[Pages] = 3

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """Two empty domains and `free` pages."""
        domids = await new_domain(world), await new_domain(world)
        await leave_unclaimed(world, self.free)
        return domids

    async def admitted(self, world: World, domid: DomId) -> bool:
        """Is there enough?"""
        return await unclaimed(world) >= self.wanted

    def parties(self, scene: Scene) -> Sequence[Party]:
        """One program in dom0 for each domain."""
        return [Party(f"builder of {domid}", (self._build(domid),)) for domid in scene.facts]

    def _build(self, domid: DomId) -> Act:
        async def act(world: World, scene: Scene) -> None:
            if await self.admitted(world, domid):
                scene.note(f"done {domid}", 0)
                await populate(domid, 1, calls=self.wanted, note=f"done {domid}")(world, scene)

        return act

    def at_end(self, scene: Scene) -> None:
        """Whoever was admitted ought to have got what he wanted."""
        for domid in scene.facts:
            done = scene.notes.get(f"done {domid}", self.wanted)
            if done < self.wanted:
                scene.violate("short", f"domain {domid} was to get {self.wanted} pages and got {done}")

    def outcome(self, scene: Scene) -> str:
        """As the recordings name it."""
        done = [scene.notes[f"done {domid}"] for domid in scene.facts if f"done {domid}" in scene.notes]
        complete = sum(pages == self.wanted for pages in done)
        return _NAMES[len(done)][complete]


_NAMES = (
    ("none-admitted",),
    ("one-admitted-and-short", "one-admitted-and-complete"),
    ("both-admitted-both-short", "both-admitted-one-short", "both-admitted-and-complete"),
)


class ClaimPopulate(CheckPopulate):
    """Admission is a claim: one is refused before it took a page."""

    name: ClassVar[str] = "claim-populate"
    about: ClassVar[str] = "two builders claim two thirds of unclaimed memory each, then populate"
    free: ClassVar[Pages] = 3
    wanted: ClassVar[Pages] = 2

    async def admitted(self, world: World, domid: DomId) -> bool:
        """A claim that was granted is a promise."""
        return (await world.hypercall(ClaimPages(domid, self.wanted))).ret == 0
