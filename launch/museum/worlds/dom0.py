"""dom0 gives memory for launches: of one toolstack, or of two that do not know of each other (Qubes 959)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from hypervisor.core.host import HostConfig
from hypervisor.public.orders import LaunchOrder
from hypervisor.public.units import DOMID_DOM0
from hypervisor.public.world import World
from launch.explore.launches import endings, toolstack
from launch.explore.programs import leave_unclaimed
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

EXTENT: Final = 512
LACKING: Final = 2
"""Pages that each launch has to get from dom0."""
MINIMUM: Final = 2 * EXTENT - 2 * LACKING + 1
"""Pages that dom0 cannot do without: it can give to one launch and not to both."""


class Dom0Gives(SmallWorld):
    """Each launch makes dom0 a little smaller."""

    name: ClassVar[str] = "dom0-gives"
    about: ClassVar[str] = "two launches that each make dom0 smaller"
    scheme: ClassVar[str | None] = "lock"
    until: ClassVar[float] = 25.0
    host = HostConfig((4096,), dom0_pages=2 * EXTENT, xen_pages=256, low_mem_virq_pages=0)

    def __init__(self, toolstacks: int, **changes: int) -> None:
        """One toolstack that gets both orders, or two with one each."""
        super().__init__(**changes)
        self._toolstacks = toolstacks

    async def set_up(self, world: World) -> None:
        """A little less than a launch needs."""
        await leave_unclaimed(world, 2 * EXTENT - LACKING)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Who gets which order."""
        orders = [LaunchOrder(number, EXTENT, EXTENT) for number in (1, 2)]
        if self._toolstacks == 1:
            return (toolstack(scene, "toolstack", orders),)
        return [toolstack(scene, f"toolstack {one.order}", one) for one in orders]

    def after_step(self, scene: Scene) -> None:
        """dom0 keeps what it needs."""
        left = scene.host.domains[DOMID_DOM0].tot_pages
        if left < MINIMUM and not scene.violations:
            scene.violate("dom0 out of memory", f"dom0 is left with {left} pages, it needs {MINIMUM}")

    def outcome(self, scene: Scene) -> str:
        """How both ended."""
        return endings(scene)
