"""Guests cloned from a template: before they run, they share its pages (S6, S7)."""

from __future__ import annotations

from math import inf
from typing import Final

from hypervisor.public.domctl import CDF_HAP, CDF_HVM, Created, CreateDomain, MaxMem, SetPagingMempoolSize
from hypervisor.public.errors import Errno, errno_name
from hypervisor.public.requests import Reply, Request
from hypervisor.public.sharing import (
    MemSharingControl,
    SharingHandle,
    SharingNominateGfn,
    SharingRangeShare,
    SharingShare,
)
from hypervisor.public.units import DOMID_ANY, PAGE_SIZE, DomId, Gfn, Pages, Run, Runs
from hypervisor.public.world import World
from toolstack.builder.build import Build, BuildFailedError
from toolstack.builder.hvm import MMIO_START, VGA_HOLE_END
from toolstack.need import max_mem_kib, paging_pool
from toolstack.service import destroy

BATCH: Final = 256
"""Pages in one multicall where the release has no range_share."""


def shared_run(memory: Pages, fraction: float) -> Runs:
    """The gfns that a guest of `memory` pages shares: contiguous, from the first page above the VGA hole."""
    pages = min(int(memory * fraction), max(0, min(memory, MMIO_START) - VGA_HOLE_END))
    return ((VGA_HOLE_END, pages),) if pages else ()


class Template:
    """A paused domain that holds what the clones will share. It goes once they have it."""

    def __init__(self, world: World, domid: DomId) -> None:
        self._world = world
        self._domid = domid

    async def share(self, domid: DomId, shared: Runs) -> None:
        """A paused domain gives these pages up for the template's. BuildFailedError when it cannot."""
        await must(self._world, MemSharingControl(domid, True))
        for first, count in shared:
            reply = await self._world.hypercall(
                SharingRangeShare(self._domid, domid, first, first + count - 1)
            )
            if reply.ret == -Errno.ENOSYS:  # before 4.8
                for start in range(first, first + count, BATCH):
                    await self._share_each(domid, (start, min(BATCH, first + count - start)))
            elif reply.ret < 0:
                raise BuildFailedError(f"{errno_name(reply.ret)} from SharingRangeShare", reply.last)

    async def _share_each(self, domid: DomId, run: Run) -> None:
        gfns = range(run[0], run[0] + run[1])
        source, client = await self._handles(self._domid, gfns), await self._handles(domid, gfns)
        await self._world.multicall(
            [
                SharingShare(self._domid, gfn, mine, domid, gfn, theirs)
                for gfn, mine, theirs in zip(gfns, source, client, strict=True)
            ]
        )

    async def _handles(self, domid: DomId, gfns: range) -> list[int]:
        replies = await self._world.multicall([SharingNominateGfn(domid, gfn) for gfn in gfns])
        return [one.value.handle if isinstance(one.value, SharingHandle) else 0 for one in replies]

    async def drop(self) -> None:
        """The template is destroyed; the clones go on sharing with each other (S12)."""
        await destroy(self._world, self._domid)


async def make_template(world: World, end: Gfn) -> Template:
    """A paused HVM domain with pages up to the gfn `end`. BuildFailedError when the host cannot hold it."""
    created = (await must(world, CreateDomain(DOMID_ANY, CDF_HVM | CDF_HAP))).value
    assert isinstance(created, Created)
    domid = created.domid
    await must(world, MaxMem(domid, max_mem_kib(end)))
    await must(world, SetPagingMempoolSize(domid, paging_pool(end, 1) * PAGE_SIZE))
    await must(world, MemSharingControl(domid, True))
    await Build(domid, "hvm-4.17", end).run(world, inf, _no_claim, lambda _pages: None)
    return Template(world, domid)


async def _no_claim(_pages: Pages) -> None:
    """Nobody else runs yet."""


async def must(world: World, request: Request) -> Reply:
    """One request that has to succeed, or BuildFailedError."""
    reply = await world.hypercall(request)
    if reply.ret < 0:
        raise BuildFailedError(f"{errno_name(reply.ret)} from {type(request).__name__}", reply.last)
    return reply
