"""create, destroy, pause, unpause.

create makes a domain as xl does, with a claim around its build, and nobody in it: no guest process runs in a
domain that the shell made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    Created,
    CreateDomain,
    MaxMem,
    PauseDomain,
    SetPagingMempoolSize,
    UnpauseDomain,
)
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import DOMID_ANY, DOMID_DOM0, PAGE_SIZE, DomId, Pages, pages_to_kib
from hypervisor.public.world import World
from hypervisor.public.xenstore import (
    StoreRemove,
    StoreWrite,
    domain_path,
    memory_target_path,
    static_max_path,
)
from launch.live.shell.amounts import parse_amount
from launch.live.shell.answer import DONE, CommandFailedError, Shown, must
from launch.live.shell.domains import all_domains, find, names_of
from toolstack.builder.build import Build, BuildFailedError
from toolstack.need import max_mem_kib, paging_pool
from toolstack.service import destroy as destroy_to_the_end

KEYS = ("name", "memory", "maxmem", "vcpus", "type")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The domain that a `create` describes, in the keys of xl.cfg(5)."""

    name: str
    memory: Pages
    maxmem: Pages
    vcpus: int
    hvm: bool
    paused: bool


def parse_wanted(arguments: Sequence[str]) -> Wanted:
    """KEY=VALUE... and -p. CommandFailedError for what is no such thing."""
    given = dict(one.split("=", 1) for one in arguments if "=" in one)
    rest = [one for one in arguments if "=" not in one]
    unknown = [one for one in rest if one != "-p"] + [key for key in given if key not in KEYS]
    if unknown:
        keys = ", ".join(f"{key}=" for key in KEYS)
        raise CommandFailedError(f"{unknown[0]}: wants {keys} and -p (EINVAL)")
    if not given.get("name") or "memory" not in given:
        raise CommandFailedError("wants at least name=NAME and memory=MEM (EINVAL)")
    vcpus, kind = given.get("vcpus", "1"), given.get("type", "hvm")
    if kind not in ("hvm", "pv") or not vcpus.isdecimal() or int(vcpus) < 1:
        raise CommandFailedError(f"vcpus={vcpus} type={kind}: wants a number above 0, and hvm or pv (EINVAL)")
    memory = parse_amount(given["memory"])
    maxmem = parse_amount(given.get("maxmem", given["memory"]))
    if maxmem < memory:
        raise CommandFailedError("maxmem is below memory (EINVAL)")
    return Wanted(given["name"], memory, maxmem, int(vcpus), kind == "hvm", "-p" in rest)


async def create(world: World, arguments: Sequence[str]) -> Shown:
    """create name=NAME memory=MEM [maxmem=MEM] [vcpus=N] [type=hvm|pv] [-p]; -p leaves it paused."""
    wanted = parse_wanted(arguments)
    domains = await all_domains(world)
    if wanted.name in (await names_of(world, domains)).values():
        raise CommandFailedError(f"a domain named {wanted.name} exists (EEXIST)")
    flags = CDF_HVM | CDF_HAP if wanted.hvm else 0
    created = (await must(world, CreateDomain(DOMID_ANY, flags, wanted.vcpus), "createdomain")).value
    assert isinstance(created, Created)
    try:
        await _build(world, created.domid, wanted)
    except (BuildFailedError, CommandFailedError) as error:
        await _remove(world, created.domid)
        raise CommandFailedError(f"{wanted.name}: {error}: destroyed again") from error
    document = {"domid": created.domid, "incarnation": created.incarnation, "name": wanted.name}
    return Shown((f"{wanted.name}: domain {created.domid}",), document)


async def _build(world: World, domid: DomId, wanted: Wanted) -> None:
    """As libxl does (L2), in no emulated time."""
    await must(world, MaxMem(domid, max_mem_kib(wanted.maxmem)), "setmaxmem")
    if wanted.hvm:
        pool = paging_pool(wanted.maxmem, wanted.vcpus)
        await must(world, SetPagingMempoolSize(domid, pool * PAGE_SIZE), "set_paging_mempool_size")

    async def claim(pages: Pages) -> None:
        await must(world, ClaimPages(domid, pages), "claim_pages")

    build = Build(domid, "hvm-4.17" if wanted.hvm else "pv-4.17", wanted.memory, max_pages=wanted.maxmem)
    await build.run(world, inf, claim, _no_progress)
    await must(world, ClaimPages(domid, 0), "claim_pages")
    await must(world, StoreWrite(f"{domain_path(domid)}/name", wanted.name), "xenstore")
    await must(world, StoreWrite(static_max_path(domid), str(pages_to_kib(wanted.maxmem))), "xenstore")
    await must(world, StoreWrite(memory_target_path(domid), str(pages_to_kib(wanted.memory))), "xenstore")
    if not wanted.paused:
        await must(world, UnpauseDomain(domid), "unpausedomain")


def _no_progress(_pages: Pages) -> None:
    """Nobody waits for it."""


async def _remove(world: World, domid: DomId) -> None:
    await destroy_to_the_end(world, domid)
    await world.hypercall(StoreRemove(domain_path(domid)))


async def destroy(world: World, arguments: Sequence[str]) -> Shown:
    """destroy DOMAIN: at once, and its home in xenstore with it."""
    domid = await _one(world, arguments)
    if domid == DOMID_DOM0:
        raise CommandFailedError("Cannot destroy privileged domain 0 (EINVAL)")
    await _remove(world, domid)
    return DONE


async def pause(world: World, arguments: Sequence[str]) -> Shown:
    """pause DOMAIN: its vcpus run no more, and its hypercalls wait."""
    await must(world, PauseDomain(await _guest(world, arguments)), "pausedomain")
    return DONE


async def unpause(world: World, arguments: Sequence[str]) -> Shown:
    """unpause DOMAIN: takes one pause away."""
    await must(world, UnpauseDomain(await _guest(world, arguments)), "unpausedomain")
    return DONE


async def _one(world: World, arguments: Sequence[str]) -> DomId:
    if len(arguments) != 1:
        raise CommandFailedError("wants one DOMAIN (EINVAL)")
    return (await find(world, arguments[0])).domid


async def _guest(world: World, arguments: Sequence[str]) -> DomId:
    domid = await _one(world, arguments)
    if domid == DOMID_DOM0:
        raise CommandFailedError("domain 0 runs the toolstacks and cannot be paused (EINVAL)")
    return domid
