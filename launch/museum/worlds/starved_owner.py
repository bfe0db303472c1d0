"""The owner of a claim on one node, when other nodes are nearly all claimed (debate A2, N5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.memory import PopulatePhysmap, memf_exact_node
from hypervisor.public.numa import ClaimMemory, Numainfo, NumaNodes, node_claim
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld
from launch.museum.programs import fill

FREE = (96, 10)
"""Pages of each node that the set-up leaves."""
CLAIMED = (90, 5)
ORDER = 4


class StarvedOwner(SmallWorld):
    """Node 0: 96 pages free, 90 of them claimed by A. Node 1: 10 and 5, by B. A asks node 0 for 16."""

    name: ClassVar[str] = "starved-owner"
    about: ClassVar[str] = "two fill their claims, each on its own node"
    host = HostConfig((256, 256), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """Two domains with claims, and fillers."""
        domids = await new_domain(world), await new_domain(world)
        filler = await new_domain(world)
        for node, free in enumerate(FREE):
            await leave_on_node(world, filler, node, free)
        for node, domid in enumerate(domids):
            reply = await world.hypercall(ClaimMemory(domid, (node_claim(node, CLAIMED[node]),)))
            assert reply.ret == 0
        return domids

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Both builders stay on their node and below their claim."""
        one, other = scene.facts
        return (
            Party("builder on node 0", (fill(one, 2, ORDER, mem_flags=memf_exact_node(0)),)),
            Party("builder on node 1", (fill(other, 2, mem_flags=memf_exact_node(1)),)),
        )


async def leave_on_node(world: World, filler: DomId, node: int, pages: int) -> None:
    """The filler takes what the node has beyond so many pages."""
    reply = await world.hypercall(Numainfo())
    assert isinstance(reply.value, NumaNodes)
    surplus = reply.value.nodes[node].memfree - pages
    await world.hypercall(PopulatePhysmap(filler, ((node << 20, surplus),), 0, memf_exact_node(node)))
