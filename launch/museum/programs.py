"""Programs for the parties of exhibits: a builder that must get what it was promised."""

from __future__ import annotations

from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.units import DomId, Order
from hypervisor.public.world import World
from launch.explore.scene import Scene
from launch.explore.small_world import Act


def fill(domid: DomId, extents: int, order: Order = 0, at: int = 0, mem_flags: int = 0) -> Act:
    """Populate what must be there for this domain: `extents` calls, and each must bring its extent."""

    async def act(world: World, scene: Scene) -> None:
        for number in range(extents):
            gfns = ((at + (number << order), 1),)
            done = (await world.hypercall(PopulatePhysmap(domid, gfns, order, mem_flags))).ret
            if done != 1:
                text = f"domain {domid} got {number} of {extents} extents of order {order} that were its own"
                scene.violate("late failure", text)
                return

    return act
