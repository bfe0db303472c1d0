"""The guests that run before the first launch: built as libxl builds them, but in no emulated time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from hypervisor.edge import Identity
from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    Created,
    CreateDomain,
    MaxMem,
    SetPagingMempoolSize,
    UnpauseDomain,
)
from hypervisor.public.errors import errno_name
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_ANY, PAGE_SIZE, DomId, Pages, Runs, pages_to_kib
from hypervisor.public.world import World
from hypervisor.public.xenstore import (
    StoreRead,
    StoreWrite,
    feature_balloon_path,
    memory_target_path,
    static_max_path,
)
from launch.cluster.plans import GuestPlan, Kind
from launch.errors import UsageError
from launch.scenario.models import Scenario
from launch.scenario.sizes import format_size
from toolstack.builder.build import Build, BuildFailedError
from toolstack.need import MAXMEM_CONSTANT, max_mem_kib, paging_pool

POLL_SECONDS = 0.01
"""Seconds (the launcher lives in real time) between looks at who has come up."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A domain in place, waiting for its guest's process."""

    plan: GuestPlan
    kind: Kind
    identity: Identity
    frames: Runs
    max_pages: Pages | None
    """What its max_pages is outside a clamp; None when the launcher did not set it."""

    @property
    def key(self) -> tuple[DomId, int]:
        """(domid, incarnation)."""
        return self.identity.domid, self.identity.incarnation


async def populate(world: World, plans: Sequence[GuestPlan], scenario: Scenario) -> list[Resident]:
    """Build every guest, one after the other. UsageError when the host cannot hold them."""
    residents: list[Resident] = []
    for number, plan in enumerate(plans, start=1):
        try:
            residents.append(await _one(world, plan, scenario.guests.kind))
        except BuildFailedError as short:
            raise UsageError(
                f"guests: only {number - 1} of {len(plans)} fit ({format_size(plan.memory)} for the next: "
                f"{short}): lower guests.count or guests.memory, or raise host.memory"
            ) from short
    return residents


async def _one(world: World, plan: GuestPlan, kind: Kind) -> Resident:
    hvm = kind == "hvm"
    reply = await _must(world, CreateDomain(DOMID_ANY, CDF_HVM | CDF_HAP if hvm else 0))
    created = reply.value
    assert isinstance(created, Created)
    domid = created.domid
    await _must(world, MaxMem(domid, max_mem_kib(plan.static_max)))
    if hvm:
        await _must(world, SetPagingMempoolSize(domid, paging_pool(plan.static_max, 1) * PAGE_SIZE))
    build = Build(domid, f"{kind}-4.17", plan.memory)
    await build.run(world, inf, _no_claim, _no_progress)
    await _must(world, StoreWrite(static_max_path(domid), str(pages_to_kib(plan.static_max))))
    await _must(world, StoreWrite(memory_target_path(domid), str(pages_to_kib(plan.memory))))
    await _must(world, UnpauseDomain(domid))
    identity = Identity(domid, created.incarnation, created.secret, f"guest-{domid}-{created.incarnation}")
    return Resident(plan, kind, identity, build.frames, plan.static_max + MAXMEM_CONSTANT)


async def _no_claim(_pages: Pages) -> None:
    """Nobody else runs yet."""


def _no_progress(_pages: Pages) -> None:
    """Nobody waits for it."""


async def _must(world: World, request: Request) -> Reply:
    reply = await world.hypercall(request)
    if reply.ret < 0:
        raise BuildFailedError(f"{errno_name(reply.ret)} from {type(request).__name__}", reply.last)
    return reply


async def wait_for_balloon_drivers(world: World, residents: Sequence[Resident]) -> None:
    """Until every guest has said that its balloon driver runs."""
    for resident in residents:
        path = feature_balloon_path(resident.identity.domid)
        while (await world.hypercall(StoreRead(path))).ret < 0:
            await world.sleep(POLL_SECONDS)
