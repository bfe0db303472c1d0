"""Small programs for the parties of small worlds: dom0 tools and guests that make a few hypercalls."""

from __future__ import annotations

from hypervisor.public.domctl import (
    Created,
    CreateDomain,
    DomainInfo,
    GetDomainInfo,
    MaxMem,
    PhysicalInfo,
    Physinfo,
    UnpauseDomain,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, DecreaseReservation, PopulatePhysmap
from hypervisor.public.units import DOMID_SELF, UINT_MAX, DomId, Order, Pages, Runs, pages_to_kib
from hypervisor.public.world import World
from hypervisor.public.xenstore import StoreWrite, static_max_path
from launch.explore.scene import Scene
from launch.explore.small_world import Act


class TooSmallError(RuntimeError):
    """A small world's host has no room for what is set up on it."""

    def __init__(self) -> None:
        super().__init__("the small world's host is too small for what is set up on it: give it more pages")


async def new_domain(
    world: World,
    *,
    flags: int = 0,
    max_pages: Pages = UINT_MAX,
    populated: Runs = (),
    order: Order = 0,
    runs: bool = False,
) -> DomId:
    """A domain with these extents in place, PV unless `flags` say otherwise; paused unless it `runs`.

    Raises TooSmallError when refused.
    """
    created = (await world.hypercall(CreateDomain(flags=flags))).value
    if not isinstance(created, Created):
        raise TooSmallError
    await world.hypercall(MaxMem(created.domid, pages_to_kib(max_pages)))
    if populated:
        done = (await world.hypercall(PopulatePhysmap(created.domid, populated, order))).ret
        if done != sum(count for _, count in populated):
            raise TooSmallError
    if runs:
        await world.hypercall(StoreWrite(static_max_path(created.domid), str(pages_to_kib(max_pages))))
        await world.hypercall(UnpauseDomain(created.domid))
    return created.domid


async def unclaimed(world: World) -> Pages:
    """free - outstanding_claims, as one physinfo tells it."""
    host = (await world.hypercall(Physinfo())).value
    assert isinstance(host, PhysicalInfo)
    return host.free_pages - host.outstanding_pages


async def domain_info(world: World, domid: DomId) -> DomainInfo:
    """One domain's figures."""
    info = (await world.hypercall(GetDomainInfo(domid))).value
    assert isinstance(info, DomainInfo)
    return info


def populate(domid: DomId, extents: int, order: Order = 0, calls: int = 1, note: str = "") -> Act:
    """`calls` populate calls of `extents` each, ended by the first that falls short.

    With a `note`, how many extents were done is kept under it.
    """

    async def act(world: World, scene: Scene) -> None:
        done = 0
        for call in range(calls):
            first = (call * extents) << order
            got = (await world.hypercall(PopulatePhysmap(domid, ((first, extents),), order))).ret
            done += max(got, 0)
            if note:
                scene.note(note, done)
            if got < extents:
                break

    return act


def grow(extents: int, order: Order = 0, at: int = 1 << 20) -> Act:
    """A guest takes memory for itself, at gfns from `at` on."""

    async def act(world: World, scene: Scene) -> None:
        await world.hypercall(PopulatePhysmap(DOMID_SELF, ((at, extents),), order))

    return act


def shrink(frames: Runs, order: Order = 0) -> Act:
    """A guest gives memory back: mfns of a PV guest, gfns of an HVM one."""

    async def act(world: World, scene: Scene) -> None:
        await world.hypercall(DecreaseReservation(DOMID_SELF, frames, order))

    return act


def claim(domid: DomId, pages: Pages, note: str = "", tries: int = 1) -> Act:
    """Claim, up to `tries` times while the answer is ENOMEM; the last answer is kept under `note`."""

    async def act(world: World, scene: Scene) -> None:
        for _ in range(tries):
            ret = (await world.hypercall(ClaimPages(domid, pages))).ret
            if note:
                scene.note(note, ret)
            if ret != -Errno.ENOMEM:
                break

    return act


async def leave_unclaimed(world: World, pages: Pages) -> None:
    """A domain that fills the host up until so many pages are free: what domains cost differs by release.

    Raises TooSmallError when there are fewer.
    """
    filler = await new_domain(world)
    surplus = await unclaimed(world) - pages
    done = (await world.hypercall(PopulatePhysmap(filler, ((0, surplus),)))).ret
    if surplus < 0 or done != surplus:
        raise TooSmallError
    await world.hypercall(MaxMem(filler, pages_to_kib(surplus)))  # it will not grow, and none need fear it
