"""mem-set and mem-max, as libxl does them (L15)."""

from __future__ import annotations

from collections.abc import Sequence

from hypervisor.public.domctl import MaxMem
from hypervisor.public.units import DOMID_DOM0, PAGES_PER_MIB, DomId, Pages, kib_to_pages, pages_to_kib
from hypervisor.public.world import World
from hypervisor.public.xenstore import StoreRead, StoreText, StoreWrite, memory_target_path, static_max_path
from launch.live.shell.amounts import parse_amount
from launch.live.shell.answer import DONE, CommandFailedError, Shown, must
from launch.live.shell.domains import find
from toolstack.need import max_mem_kib

LEAST_DOM0: Pages = 128 * PAGES_PER_MIB


async def mem_set(world: World, arguments: Sequence[str]) -> Shown:
    """mem-set DOMAIN MEM: the balloon target. Enforced: max_pages becomes the target and 1 MiB (L15)."""
    domid, pages = await _two(world, arguments)
    if domid == DOMID_DOM0 and pages < LEAST_DOM0:
        raise CommandFailedError("dom0 keeps at least 128 MiB (EINVAL)")
    limit = await _stored(world, static_max_path(domid))
    if limit is not None and pages > limit:
        text = f"{pages_to_kib(pages)} KiB is above static-max, {pages_to_kib(limit)} KiB (EINVAL)"
        raise CommandFailedError(text)
    if domid != DOMID_DOM0:
        await must(world, MaxMem(domid, max_mem_kib(pages)), "setmaxmem")
    await must(world, StoreWrite(memory_target_path(domid), str(pages_to_kib(pages))), "xenstore")
    return DONE


async def mem_max(world: World, arguments: Sequence[str]) -> Shown:
    """mem-max DOMAIN MEM: max_pages alone, 1 MiB above MEM; not below the balloon target."""
    domid, pages = await _two(world, arguments)
    target = await _stored(world, memory_target_path(domid))
    if target is not None and pages < target:
        text = f"{pages_to_kib(pages)} KiB is below the target, {pages_to_kib(target)} KiB (EINVAL)"
        raise CommandFailedError(text)
    await must(world, MaxMem(domid, max_mem_kib(pages)), "setmaxmem")
    return DONE


async def _two(world: World, arguments: Sequence[str]) -> tuple[DomId, Pages]:
    if len(arguments) != 2:
        raise CommandFailedError("wants DOMAIN and MEM (EINVAL)")
    pages = parse_amount(arguments[1])
    return (await find(world, arguments[0])).domid, pages


async def _stored(world: World, path: str) -> Pages | None:
    """KiB in xenstore as pages."""
    reply = await world.hypercall(StoreRead(path))
    text = reply.value.value if isinstance(reply.value, StoreText) else ""
    return kib_to_pages(int(text)) if text.isdecimal() else None
