"""list, info, claims, sharing: in the columns of xl (L16, xl_list.c, xl_info.c).

There is no CPU in this emulator, so nobody uses any: where xl shows CPU seconds there is a dash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypervisor.public.domctl import DomainInfo, PhysicalInfo, Physinfo
from hypervisor.public.numa import Numainfo, NumaNodes
from hypervisor.public.sharing import GetSharingFreedPages, GetSharingSharedPages
from hypervisor.public.world import World
from launch.live.shell.amounts import mib
from launch.live.shell.answer import CommandFailedError, Shown, must
from launch.live.shell.domains import all_domains, find, names_of
from launch.live.states import state_letters

_HEADING = "Name                                        ID   Mem VCPUs\tState\tTime(s)"


async def list_domains(world: World, arguments: Sequence[str]) -> Shown:
    """list [DOMAIN...]: Mem is memory and claim together, MiB."""
    return await _listing(world, arguments, claimed=False)


async def claims(world: World, arguments: Sequence[str]) -> Shown:
    """claims: the list, and what is claimed of Mem."""
    return await _listing(world, arguments, claimed=True)


async def _listing(world: World, arguments: Sequence[str], claimed: bool) -> Shown:
    domains = [await find(world, one) for one in arguments] or list(await all_domains(world))
    names = await names_of(world, domains)
    heading = _HEADING + ("  Claimed" if claimed else "")
    lines = [_line(one, names[one.domid], claimed) for one in domains]
    return Shown((heading, *lines), {"domains": [_document(one, names[one.domid]) for one in domains]})


def _line(one: DomainInfo, name: str, claimed: bool) -> str:
    memory = mib(one.tot_pages + one.outstanding_pages)
    state = state_letters(one.flags)
    line = f"{name:<40} {one.domid:5} {memory:5} {one.nr_online_vcpus:5}     {state}  {'-':>8}"
    return f"{line} {mib(one.outstanding_pages):5}" if claimed else line


def _document(one: DomainInfo, name: str) -> dict[str, Any]:
    """Pages, so that nothing is rounded away."""
    return {
        "name": name,
        "domid": one.domid,
        "incarnation": one.incarnation,
        "tot_pages": one.tot_pages,
        "max_pages": one.max_pages,
        "outstanding_pages": one.outstanding_pages,
        "shr_pages": one.shr_pages,
        "vcpus": one.nr_online_vcpus,
        "state": state_letters(one.flags),
    }


async def info(world: World, arguments: Sequence[str]) -> Shown:
    """info [-n]: the host's memory in MiB; free_memory is what neither a domain nor a claim has."""
    if not set(arguments) <= {"-n", "--numa"}:
        raise CommandFailedError("takes no argument but -n (EINVAL)")
    host = (await must(world, Physinfo(), "physinfo")).value
    assert isinstance(host, PhysicalInfo)
    freed = (await world.hypercall(GetSharingFreedPages())).ret
    shared = (await world.hypercall(GetSharingSharedPages())).ret
    figures = {
        "nr_nodes": host.nr_nodes,
        "total_memory": mib(host.total_pages),
        "free_memory": mib(max(0, host.free_pages - host.outstanding_pages)),
        "sharing_freed_memory": mib(max(0, freed)),
        "sharing_used_memory": mib(max(0, shared)),
        "outstanding_claims": mib(host.outstanding_pages),
    }
    lines = [f"{name:<22} : {figure}" for name, figure in figures.items()]
    pages = {"total": host.total_pages, "free": host.free_pages, "outstanding": host.outstanding_pages}
    document: dict[str, Any] = {**figures, "pages": pages}
    if arguments:
        nodes = await _nodes(world)
        lines += ["numa_info              :", "node:    memsize    memfree    claimed"]
        lines += [f"{n['node']:4}:{n['memsize']:11}{n['memfree']:11}{n['claimed']:11}" for n in nodes]
        document["nodes"] = nodes
    return Shown(tuple(lines), document)


async def _nodes(world: World) -> list[dict[str, int]]:
    """MiB. xl has no claimed column; claims on nodes exist with the release claim-sets only (N8)."""
    told = (await must(world, Numainfo(), "numainfo")).value
    assert isinstance(told, NumaNodes)
    return [
        {"node": node, "memsize": mib(one.memsize), "memfree": mib(one.memfree), "claimed": mib(one.claimed)}
        for node, one in enumerate(told.nodes)
    ]


async def sharing(world: World, arguments: Sequence[str]) -> Shown:
    """sharing [DOMAIN...]: how much of each domain's memory is shared, MiB."""
    domains = [await find(world, one) for one in arguments] or list(await all_domains(world))
    names = await names_of(world, domains)
    lines = [_sharing_line(one, names[one.domid]) for one in domains]
    heading = "Name                                        ID   Mem Shared"
    return Shown((heading, *lines), {"domains": [_document(one, names[one.domid]) for one in domains]})


def _sharing_line(one: DomainInfo, name: str) -> str:
    return f"{name:<40} {one.domid:5} {mib(one.tot_pages):5}  {mib(one.shr_pages):5}"
