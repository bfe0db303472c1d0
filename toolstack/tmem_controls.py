"""What a toolstack can do about tmem: freeze, thaw, flush, ask how much could be freed (T14-T16, L17).

P7 of the debate is the documented sequence freeze, query freeable, flush, allocate, thaw; step 6 of P2 uses
the same controls so that tmem does not eat what was set aside. A freeze stops new puts only: gets go on, and
each hit in a private ephemeral pool takes its page away, so a frozen cache starves (T11, H9).
"""

from __future__ import annotations

from typing import Final

from hypervisor.public.errors import errno_name
from hypervisor.public.tmem import (
    TMEM_CLI_ID_NULL,
    TMEM_FLUSH,
    TMEM_FREEZE,
    TMEM_QUERY_FREEABLE_MB,
    TMEM_THAW,
    TmemControl,
)
from hypervisor.public.units import (
    KIB_PER_PAGE,
    PAGES_PER_MIB,
    UINT_MAX,
    DomId,
    Pages,
    kib_to_pages,
)
from hypervisor.public.world import World
from toolstack.interface import CountingWorld, LaunchRefusedError

TMEM_RELEASES: Final = ("4.3", "4.12")
"""Releases whose hypervisor has tmem; for `Scheme.releases`."""
ALL_CLIENTS: Final[DomId] = TMEM_CLI_ID_NULL
"""The clients there are at that moment: one that comes later is not frozen (T14)."""
MOST_PER_FLUSH: Final[Pages] = UINT_MAX // KIB_PER_PAGE
"""Pages that one FLUSH can name: its argument is 32 bits of KiB."""


async def freeze(world: World | CountingWorld, client: DomId = ALL_CLIENTS) -> None:
    """No new puts from now on. Raises `LaunchRefusedError` where there is no tmem, or no such client."""
    await _control(world, TmemControl(TMEM_FREEZE, client))


async def thaw(world: World | CountingWorld, client: DomId = ALL_CLIENTS) -> None:
    """Puts as before. Raises as `freeze`."""
    await _control(world, TmemControl(TMEM_THAW, client))


async def flush(world: World | CountingWorld, pages: Pages) -> Pages:
    """Evict until tmem's own list holds `pages`, and give all of that list to the heap: pages given (T15).

    May be fewer than asked for, when nothing more can be evicted, and more, when the list was longer.
    """
    asked = min(max(pages, 0), MOST_PER_FLUSH)
    return kib_to_pages(await _control(world, TmemControl(TMEM_FLUSH, arg=asked * KIB_PER_PAGE)))


async def query_freeable(world: World | CountingWorld) -> Pages:
    """Pages that tmem says it could free, in whole MiB; eviction may deliver fewer (T16, T19)."""
    return PAGES_PER_MIB * await _control(world, TmemControl(TMEM_QUERY_FREEABLE_MB))


class TmemFreeze:
    """A freeze shared by all launches of one toolstack: thawed when the last of them lets go."""

    def __init__(self) -> None:
        self._holders: set[int] = set()

    async def hold(self, world: World | CountingWorld, order: int) -> None:
        """Freeze every client on behalf of a launch order, also those that came after the last freeze."""
        self._holders.add(order)  # on record before its hypercall, so that whatever fails is thawed
        await freeze(world)

    async def let_go(self, world: World | CountingWorld, order: int) -> None:
        """The launch needs it no more. Nothing happens for one that holds nothing."""
        if order not in self._holders:
            return
        self._holders.remove(order)
        if not self._holders:
            await thaw(world)


async def _control(world: World | CountingWorld, request: TmemControl) -> int:
    reply = await world.hypercall(request)
    if reply.ret < 0:
        raise LaunchRefusedError(f"{errno_name(reply.ret)} from a tmem control operation", reply.last)
    return reply.ret
