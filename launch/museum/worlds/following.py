"""A guest follows the targets of a daemon that balances memory (Q3, Q6, squeezed PR 56)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import CDF_HAP, CDF_HVM, UnpauseDomain
from hypervisor.public.units import DomId, kib_to_pages, pages_to_kib
from hypervisor.public.world import World
from hypervisor.public.xenstore import StoreWrite, memory_target_path, static_max_path, uncooperative_path
from launch.explore.programs import new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld
from launch.museum.balloon import BalloonedGuest
from toolstack.interface import CountingWorld
from toolstack.need import max_mem_kib

STATIC_MAX: Final = 512
"""Pages: all that the guest's kernel knows of."""
HELD: Final = STATIC_MAX - 2


class FollowingGuest(SmallWorld):
    """Memory for everybody, and one HVM guest that does whatever it is asked."""

    name: ClassVar[str] = "following-guest"
    about: ClassVar[str] = "a daemon hands out free memory, and an HVM guest's balloon follows its targets"
    scheme: ClassVar[str | None] = "squeezed"
    until: ClassVar[float] = 52.0
    """The fourth look at the host: the second that finds the guest where it was, 25 s after the first."""
    host = HostConfig((2048,), dom0_pages=256, xen_pages=128, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> DomId:
        """An HVM guest two pages below its static maximum, which is its target."""
        limit = kib_to_pages(max_mem_kib(STATIC_MAX))
        domid = await new_domain(world, flags=CDF_HVM | CDF_HAP, max_pages=limit, populated=((0, HELD),))
        await world.hypercall(StoreWrite(static_max_path(domid), str(pages_to_kib(STATIC_MAX))))
        await world.hypercall(StoreWrite(memory_target_path(domid), str(pages_to_kib(HELD))))
        await world.hypercall(UnpauseDomain(domid))
        return domid

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The daemon, and a guest that has booted."""
        scheme, guest = scene.new_scheme(), BalloonedGuest(((0, HELD),), STATIC_MAX)

        async def balance(world: World, scene: Scene) -> None:
            await scheme.serve(CountingWorld(world))

        return (
            Party("daemon", (balance,)),
            Party("guest", (guest.follow,), before=(guest.boot,), domid=scene.facts),
        )

    def after_step(self, scene: Scene) -> None:
        """Nobody is called uncooperative who holds all the memory there can be and is asked for more."""
        domid = scene.facts
        values, tot_pages = scene.host.store.values, scene.host.domains[domid].tot_pages
        target = kib_to_pages(int(values[memory_target_path(domid)]))
        marked = uncooperative_path(domid) in values
        if marked and tot_pages == STATIC_MAX < target and not scene.violations:
            scene.violate(
                "wrongly uncooperative",
                f"domain {domid} holds {tot_pages} pages, its static maximum, and is called uncooperative "
                f"because its target is {target}",
            )
