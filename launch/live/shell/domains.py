"""Domains by name: what a user writes, and what a listing shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypervisor.public.domctl import DomainInfo, DomainInfoList, GetDomainInfoList
from hypervisor.public.units import DOMID_DOM0, DomId
from hypervisor.public.world import World
from hypervisor.public.xenstore import StoreRead, StoreText, domain_path
from launch.live.shell.answer import CommandFailedError

DOM0_NAME: Final = "Domain-0"
NO_NAME: Final = "(null)"
"""What libxl prints for a domain without a name in xenstore."""
MOST_NAMES: Final = 1000
"""Reads of one multicall; the wire takes 1024."""


async def all_domains(world: World) -> tuple[DomainInfo, ...]:
    """Every domain, dom0 first."""
    reply = await world.hypercall(GetDomainInfoList(DOMID_DOM0, 1 << 15))
    return reply.value.domains if isinstance(reply.value, DomainInfoList) else ()


async def names_of(world: World, domains: Sequence[DomainInfo]) -> dict[DomId, str]:
    """Names as xenstore has them."""
    names = {DOMID_DOM0: DOM0_NAME}
    others = [one.domid for one in domains if one.domid != DOMID_DOM0]
    for start in range(0, len(others), MOST_NAMES):
        some = others[start : start + MOST_NAMES]
        replies = await world.multicall([StoreRead(f"{domain_path(domid)}/name") for domid in some])
        for domid, reply in zip(some, replies, strict=True):
            names[domid] = reply.value.value if isinstance(reply.value, StoreText) else NO_NAME
    return names


async def find(world: World, wanted: str) -> DomainInfo:
    """The domain that a user means: a domid, or a name. CommandFailedError when there is none."""
    domains = await all_domains(world)
    if wanted.isdecimal():
        found = [one for one in domains if one.domid == int(wanted)]
    else:
        names = await names_of(world, domains)
        found = [one for one in domains if names[one.domid] == wanted]
    if not found:
        raise CommandFailedError(f"{wanted} is an invalid domain identifier (ESRCH)")
    return found[0]
