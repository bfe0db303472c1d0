"""The guests that run before the first launch: built as libxl builds them, but in no emulated time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from hypervisor.public.units import DOMID_ANY, PAGE_SIZE, DomId, Pages, Runs, pages_to_kib
from hypervisor.public.world import World
from hypervisor.public.xenstore import (
    StoreRead,
    StoreWrite,
    feature_balloon_path,
    memory_target_path,
    static_max_path,
)
from launch.cluster.cloning import Template, make_template, must
from launch.cluster.plans import GuestPlan, Kind
from launch.errors import UsageError
from launch.scenario.models import Scenario
from launch.scenario.sizes import format_size
from toolstack.builder.build import Build, BuildFailedError
from toolstack.need import MAXMEM_CONSTANT, max_mem_kib, paging_pool
from toolstack.service import destroy

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
    party: str
    """What holds and faults call it: "guest-3" or "launch-2"."""

    @property
    def key(self) -> tuple[DomId, int]:
        """(domid, incarnation)."""
        return self.identity.domid, self.identity.incarnation


async def populate(world: World, plans: Sequence[GuestPlan], scenario: Scenario) -> list[Resident]:
    """Build every guest, one after the other. UsageError when the host cannot hold them."""
    residents: list[Resident] = []
    template: Template | None = None
    end = max((first + count for plan in plans for first, count in plan.shared), default=0)
    for number, plan in enumerate(plans, start=1):
        try:
            if end and template is None:
                template = await make_template(world, end)
            residents.append(await _one(world, plan, scenario.guests.kind, f"guest-{number}", template))
        except BuildFailedError as short:
            raise UsageError(
                f"guests: only {number - 1} of {len(plans)} fit ({format_size(plan.memory)} for the next: "
                f"{short}): lower guests.count or guests.memory, or raise host.memory"
            ) from short
    if template is not None:
        await template.drop()
    return residents


async def reboot(world: World, resident: Resident) -> Resident:
    """Destroy a guest's domain and build it anew, as it was at first but for pages it shared with a template.

    BuildFailedError when it does not fit.
    """
    await destroy(world, resident.identity.domid)
    plan = replace(resident.plan, shared=())
    return await _one(world, plan, resident.kind, resident.party, None)


async def _one(world: World, plan: GuestPlan, kind: Kind, party: str, template: Template | None) -> Resident:
    hvm = kind == "hvm"
    reply = await must(world, CreateDomain(DOMID_ANY, CDF_HVM | CDF_HAP if hvm else 0))
    created = reply.value
    assert isinstance(created, Created)
    domid = created.domid
    await must(world, MaxMem(domid, max_mem_kib(plan.static_max)))
    if hvm:
        await must(world, SetPagingMempoolSize(domid, paging_pool(plan.static_max, 1) * PAGE_SIZE))
    build = Build(domid, f"{kind}-4.17", plan.memory, plan.static_max if plan.on_demand and hvm else 0)
    await build.run(world, inf, _no_claim, _no_progress)
    if template is not None and plan.shared:
        await template.share(domid, plan.shared)
    await must(world, StoreWrite(static_max_path(domid), str(pages_to_kib(plan.static_max))))
    await must(world, StoreWrite(memory_target_path(domid), str(pages_to_kib(plan.memory))))
    await must(world, UnpauseDomain(domid))
    identity = Identity(domid, created.incarnation, created.secret, f"guest-{domid}-{created.incarnation}")
    return Resident(plan, kind, identity, build.frames, plan.static_max + MAXMEM_CONSTANT, party)


async def _no_claim(_pages: Pages) -> None:
    """Nobody else runs yet."""


def _no_progress(_pages: Pages) -> None:
    """Nobody waits for it."""


async def wait_for_balloon_drivers(world: World, residents: Sequence[Resident]) -> None:
    """Until every guest has said that its balloon driver runs."""
    for resident in residents:
        path = feature_balloon_path(resident.identity.domid)
        while (await world.hypercall(StoreRead(path))).ret < 0:
            await world.sleep(POLL_SECONDS)
