"""Worlds nobody thought of: drawn from a seed, with or without a race planted in a toolstack.

Two to three parties share one host: builders that claim before they populate, guests that grow, a toolstack
that clamps. With `planted=1` one builder looks instead of claiming, or the clamp sets what it has sampled
before; with 0 nobody does. (Pausing the guest around the clamp would not help: a populate under way goes
on.) The judge is the same for both: who was admitted gets all his pages, and no limit is set below what its
domain holds.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import MaxMem
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import DomId, Pages, pages_to_kib
from hypervisor.public.world import World
from launch.explore.programs import domain_info, grow, leave_unclaimed, new_domain, populate, unclaimed
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party, SmallWorld

Admission = Callable[[World, DomId, Pages], Awaitable[bool]]
Plant = Literal["look", "clamp"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the seed drew, in pages."""

    plant: Plant
    builds: tuple[Pages, ...]
    """One builder each; the first bears the plant if it is a look."""
    growth: tuple[Pages, ...]
    """What the guest takes, call by call."""
    free: Pages


@dataclass(frozen=True, slots=True)
class Facts:
    """What the set-up made."""

    built: tuple[DomId, ...]
    guest: DomId


class Generated(SmallWorld):
    """One world for every seed."""

    name: ClassVar[str] = "generated"
    about: ClassVar[str] = (
        "builders, a guest and a clamping toolstack drawn from a seed; planted=1 plants a race"
    )
    parameters: ClassVar[Mapping[str, int]] = {"world": 1, "planted": 1}
    host = HostConfig((512,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    def __init__(self, **changes: int) -> None:
        super().__init__(**changes)
        self.plan = drawn(random.Random(self.values["world"]))

    async def set_up(self, world: World) -> Facts:
        """The domains, and as much free memory as was drawn."""
        built = [await new_domain(world) for _ in self.plan.builds]
        guest = await new_domain(world, populated=((0, 4),), runs=True)
        await leave_unclaimed(world, self.plan.free)
        return Facts(tuple(built), guest)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Builders, the guest, and whoever clamps it."""
        planted = bool(self.values["planted"])
        plan, guest = self.plan, scene.facts.guest
        parties: list[Party] = []
        for index, (domid, pages) in enumerate(zip(scene.facts.built, plan.builds, strict=True)):
            admission = looked if planted and plan.plant == "look" and not index else claimed
            parties.append(Party(f"builder of {domid}", (build(domid, pages, admission),)))
        if plan.plant == "clamp":
            parties.append(Party("clamp", (clamp(guest, at_all=planted),)))
        acts = tuple(grow(pages, at=1024 * index) for index, pages in enumerate(plan.growth))
        return (*parties, Party("guest", acts, domid=guest))

    def after_step(self, scene: Scene) -> None:
        """No limit is set below what its domain holds."""
        domain = scene.host.domains[scene.facts.guest]
        if domain.tot_pages > domain.max_pages and not scene.violations:
            scene.violate(
                "clamped on a stale sample",
                f"domain {domain.domid} holds {domain.tot_pages} pages, max_pages is {domain.max_pages}",
            )


def drawn(rng: random.Random) -> Plan:
    """Sizes under which the plant matters: memory for each alone, not for all."""
    growth = tuple(rng.randint(1, 2) for _ in range(rng.randint(1, 2)))
    plant: Plant = rng.choice(("look", "clamp"))
    builds = tuple(rng.randint(1, 3) for _ in range(rng.randint(1, 2) if plant == "look" else 1))
    free = builds[0] + rng.randrange(sum(growth))
    return Plan(plant, builds, growth, free)


async def looked(world: World, domid: DomId, pages: Pages) -> bool:
    """Admitted by a look."""
    return await unclaimed(world) >= pages


async def claimed(world: World, domid: DomId, pages: Pages) -> bool:
    """Admitted by a claim."""
    return (await world.hypercall(ClaimPages(domid, pages))).ret == 0


def build(domid: DomId, pages: Pages, admission: Admission) -> Act:
    """Ask for admission; who is admitted must get everything."""

    async def act(world: World, scene: Scene) -> None:
        if await admission(world, domid, pages):
            key = f"built {domid}"
            scene.note(key, 0)
            await populate(domid, pages, note=key)(world, scene)
            if scene.notes[key] < pages:
                scene.violate("late failure", f"domain {domid} got {scene.notes[key]} of {pages} pages")

    return act


def clamp(domid: DomId, at_all: bool) -> Act:
    """Sample and set, or leave it at the sample."""

    async def act(world: World, scene: Scene) -> None:
        tot_pages = (await domain_info(world, domid)).tot_pages
        if at_all:
            await world.hypercall(MaxMem(domid, pages_to_kib(tot_pages)))

    return act
