"""Recorded race `check-populate`: look at free - outstanding, then populate, as before there were claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import leave_unclaimed, new_domain, populate, unclaimed
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party, SmallWorld

FREE = 4
WANTED = 3


class CheckPopulate(SmallWorld):
    """Each of two builders wants three quarters of what is unclaimed."""

    name: ClassVar[str] = "check-populate"
    about: ClassVar[str] = "two builders look at unclaimed memory, then populate three quarters of it each"
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
        """Whoever went ahead ought to have got what he had seen."""
        for domid in scene.facts:
            done: Any = scene.notes.get(f"done {domid}")
            if done is not None and done < WANTED:
                scene.violate("short", f"domain {domid} was to get {WANTED} pages and got {done}")

    def outcome(self, scene: Scene) -> str:
        """As the recordings name it."""
        done = [scene.notes[f"done {domid}"] for domid in scene.facts if f"done {domid}" in scene.notes]
        complete = sum(pages == WANTED for pages in done)
        return _NAMES[len(done)][complete]


_NAMES = (
    ("none-admitted",),
    ("one-admitted-and-short", "one-admitted-and-complete"),
    ("both-admitted-both-short", "both-admitted-one-short", "both-admitted-and-complete"),
)


def build(domid: DomId) -> Act:
    """Look, and if there is enough, take it."""

    async def act(world: World, scene: Scene) -> None:
        if await unclaimed(world) >= WANTED:
            scene.note(f"done {domid}", 0)
            await populate(domid, 1, calls=WANTED, note=f"done {domid}")(world, scene)

    return act
