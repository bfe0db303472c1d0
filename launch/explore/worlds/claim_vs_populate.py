"""Recorded race `claim-vs-populate`: a claim for one domain against a populate of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import claim, leave_unclaimed, new_domain, populate
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

FREE = 3
WANTED = 2


class ClaimVsPopulate(SmallWorld):
    """Both want two thirds of what is unclaimed; one of them gets it."""

    name: ClassVar[str] = "claim-vs-populate"
    about: ClassVar[str] = "one claims two thirds of unclaimed memory while another populates as much"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """Two empty domains and `FREE` pages."""
        domids = await new_domain(world), await new_domain(world)
        await leave_unclaimed(world, FREE)
        return domids

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The one that claims, the one that populates page by page."""
        claimed, populated = scene.facts
        return (
            Party("claimer", (claim(claimed, WANTED, "claim"),)),
            Party("populater", (populate(populated, 1, calls=WANTED, note="done"),)),
        )

    def at_end(self, scene: Scene) -> None:
        """There was not enough for both, and enough for one."""
        if scene.notes["claim"] == 0 and scene.notes["done"] == WANTED:
            scene.violate("both got it", f"{FREE} pages were there for twice {WANTED}")
        if scene.notes["claim"] != 0 and scene.notes["done"] < WANTED:
            scene.violate("neither got it", f"{FREE} pages were there for {WANTED}")

    def outcome(self, scene: Scene) -> str:
        """As the recordings name it."""
        won = (scene.notes["claim"] == 0, scene.notes["done"] == WANTED)
        return {(True, False): "claim-won", (False, True): "populate-won"}.get(won, f"claim, populate: {won}")
