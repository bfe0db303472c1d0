"""tmem-list, tmem-freeze, tmem-thaw, tmem-freeable (L17), on releases that have tmem."""

from __future__ import annotations

from collections.abc import Sequence

from hypervisor.public.errors import Errno, errno_name
from hypervisor.public.requests import Reply
from hypervisor.public.tmem import (
    TMEM_CLI_ID_NULL,
    TMEM_FREEZE,
    TMEM_LIST,
    TMEM_QUERY_FREEABLE_MB,
    TMEM_THAW,
    TmemControl,
    TmemList,
)
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.live.shell.answer import DONE, CommandFailedError, Shown
from launch.live.shell.domains import find


async def tmem_list(world: World, arguments: Sequence[str]) -> Shown:
    """tmem-list [-l] DOMAIN | -a: the lines that Xen prints; -l the long form."""
    long = "-l" in arguments
    client = await _client(world, [one for one in arguments if one != "-l"])
    told = (await _control(world, TmemControl(TMEM_LIST, client, int(long)))).value
    assert isinstance(told, TmemList)
    return Shown(told.lines, {"lines": list(told.lines)})


async def tmem_freeze(world: World, arguments: Sequence[str]) -> Shown:
    """tmem-freeze DOMAIN | -a: no new puts."""
    await _control(world, TmemControl(TMEM_FREEZE, await _client(world, arguments)))
    return DONE


async def tmem_thaw(world: World, arguments: Sequence[str]) -> Shown:
    """tmem-thaw DOMAIN | -a: puts as before."""
    await _control(world, TmemControl(TMEM_THAW, await _client(world, arguments)))
    return DONE


async def tmem_freeable(world: World, arguments: Sequence[str]) -> Shown:
    """tmem-freeable: MiB that tmem says it could free."""
    if arguments:
        raise CommandFailedError("takes no argument (EINVAL)")
    freeable = (await _control(world, TmemControl(TMEM_QUERY_FREEABLE_MB))).ret
    return Shown((str(freeable),), {"freeable_mib": freeable})


async def _control(world: World, request: TmemControl) -> Reply:
    reply = await world.hypercall(request)
    if reply.ret == -Errno.ENOSYS:
        raise CommandFailedError("no tmem here: releases 4.3 and 4.12 have it (ENOSYS)")
    if reply.ret == -Errno.EPERM:
        raise CommandFailedError("the domain does not use tmem (EPERM)")
    if reply.ret < 0:
        raise CommandFailedError(errno_name(reply.ret))
    return reply


async def _client(world: World, arguments: Sequence[str]) -> DomId:
    if len(arguments) != 1:
        raise CommandFailedError("wants one DOMAIN, or -a for all (EINVAL)")
    return TMEM_CLI_ID_NULL if arguments[0] == "-a" else (await find(world, arguments[0])).domid
