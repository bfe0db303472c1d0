"""A guest swaps to tmem while all memory is claimed, what tmem can give back included (T23, C28)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import Frames, UnpauseDomain
from hypervisor.public.memory import ClaimPages, PopulatePhysmap
from hypervisor.public.requests import Request
from hypervisor.public.tmem import TMEM_EPHEMERAL, TMEM_PERSISTENT, TmemFlushObject, TmemNewPool, TmemPutPage
from hypervisor.public.units import DomId, Mfn
from hypervisor.public.world import World
from launch.explore.programs import domain_info, leave_unclaimed, new_domain, unclaimed
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party, SmallWorld
from launch.museum.programs import fill

CACHED: Final = 4
"""Pages that the guest puts into tmem and gives up, so that they are in tmem's list."""
FREE: Final = 5
"""Enough for what tmem keeps of four pages, and none to spare."""
CLEANCACHE, FRONTSWAP = 0, 1
_OBJECT: Final = (1, 0, 0)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the set-up made."""

    guest: DomId
    frame: Mfn
    """The guest's page that it swaps."""
    built: DomId


class TmemList(SmallWorld):
    """Free memory and tmem's list are claimed to the last page, and another swaps."""

    name: ClassVar[str] = "tmem-list"
    about: ClassVar[str] = "one fills its claim on all memory while a guest swaps to tmem"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0, tmem=True)

    async def set_up(self, world: World) -> Facts:
        """A running guest, an empty domain, and little memory."""
        guest = await new_domain(world)
        taken = (await world.hypercall(PopulatePhysmap(guest, ((0, 1),)))).value
        assert isinstance(taken, Frames)
        await world.hypercall(UnpauseDomain(guest))
        built = await new_domain(world)
        await leave_unclaimed(world, FREE)
        return Facts(guest, taken.extents[0][0], built)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Before: the guest uses tmem as a cache and gives it up; then everything is claimed."""
        facts: Facts = scene.facts
        put = TmemPutPage(FRONTSWAP, _OBJECT, 0, facts.frame, 1)
        return (
            Party("guest", (calls(put),), before=(use_cache(facts.frame),), domid=facts.guest),
            Party("builder", (fill_claim(facts.built),), before=(claim_all(facts.built),)),
        )


def calls(*requests: Request) -> Act:
    """One after the other, whatever they answer."""

    async def act(world: World, scene: Scene) -> None:
        for request in requests:
            await world.hypercall(request)

    return act


def use_cache(frame: Mfn) -> Act:
    """Both pools; pages put into the first and given up."""
    puts = [TmemPutPage(CLEANCACHE, _OBJECT, index, frame, 1) for index in range(CACHED)]
    pools = TmemNewPool(TMEM_EPHEMERAL), TmemNewPool(TMEM_PERSISTENT)
    return calls(*pools, *puts, TmemFlushObject(CLEANCACHE, _OBJECT))


def claim_all(domid: DomId) -> Act:
    """The largest claim that is granted."""

    async def act(world: World, scene: Scene) -> None:
        free = await unclaimed(world)
        for pages in range(free + 4 * CACHED, 0, -1):
            if (await world.hypercall(ClaimPages(domid, pages))).ret == 0:
                break

    return act


def fill_claim(domid: DomId) -> Act:
    """Populate whatever is claimed."""

    async def act(world: World, scene: Scene) -> None:
        info = await domain_info(world, domid)
        await fill(domid, info.outstanding_pages, at=info.tot_pages)(world, scene)

    return act
