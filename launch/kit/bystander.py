"""A domain of somebody else's on the host of a trial: what a toolstack lowers of it, it has to put back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hypervisor.public.domctl import CDF_HVM, Created, CreateDomain, DomainInfo, MaxMem, UnpauseDomain
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.units import PAGES_PER_MIB, Pages, pages_to_kib
from hypervisor.public.world import World
from launch.cluster.control import list_domains

HELD: Final[Pages] = 4 * PAGES_PER_MIB
MAXIMUM: Final[Pages] = 8 * PAGES_PER_MIB
SUPERPAGE: Final = 9
"""Order of what it is built of."""


async def settle(world: World) -> DomainInfo:
    """Build it, with room to grow, and let it run; nobody speaks for it."""
    created = (await world.hypercall(CreateDomain(flags=CDF_HVM))).value
    assert isinstance(created, Created)
    await world.hypercall(MaxMem(created.domid, pages_to_kib(MAXIMUM)))
    await world.hypercall(PopulatePhysmap(created.domid, ((0, HELD >> SUPERPAGE),), SUPERPAGE))
    await world.hypercall(UnpauseDomain(created.domid))
    (found,) = await list_domains(world)
    return found


def harm(before: DomainInfo, after: DomainInfo | None, *, listed: bool) -> Iterator[str]:
    """What a toolstack that has left did to it; `listed`: its Farewell names leftovers."""
    name = f"domain {before.domid}, which it did not build,"
    if after is None or after.incarnation != before.incarnation:
        yield f"{name} is gone: destroy only domains of its own orders"
    elif after.max_pages != before.max_pages and not listed:
        yield (
            f"{name} is left with max_pages {after.max_pages} instead of {before.max_pages}: "
            "put back every limit that was lowered before leaving"
        )
    elif after.tot_pages != before.tot_pages:
        yield f"{name} has {after.tot_pages} pages instead of {before.tot_pages}: leave others' memory alone"
