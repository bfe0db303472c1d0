"""The partial-order reduction leaves nothing out and tries nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from hypervisor.core.host import HostConfig
from hypervisor.core.releases import RELEASES
from hypervisor.public.domctl import (
    DestroyDomain,
    GetDomainInfoList,
    MaxMem,
    PauseDomain,
    Physinfo,
    UnpauseDomain,
)
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.requests import Request
from hypervisor.public.units import DOMID_SELF
from hypervisor.public.world import World
from hypervisor.public.xenstore import StoreRead, StoreWatch, StoreWrite
from launch.explore.blueprint import Blueprint, blueprint
from launch.explore.exhaustive import ExhaustiveScheduler
from launch.explore.options import asked
from launch.explore.programs import new_domain
from launch.explore.scene import Scene
from launch.explore.schedulers import PctScheduler, RandomScheduler
from launch.explore.search import Budget, explore
from launch.explore.small_world import Act, Party, Setting, SmallWorld
from tests.launch.every_order import EveryOrder, forms
from toolstack.naive import Naive


def ask(*requests: Request) -> Act:
    """One hypercall after the other."""

    async def act(world: World, scene: Scene) -> None:
        for request in requests:
            await world.hypercall(request)

    return act


class Locks(SmallWorld):
    """Multi-step holders of the domctl and sysctl locks, and steps that take them once."""

    name: ClassVar[str] = "locks"
    about: ClassVar[str] = "a destruction, a list, limits and looks"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> tuple[int, int]:
        return await new_domain(world, populated=((0, 2),), runs=True), await new_domain(world)

    def parties(self, scene: Scene) -> Sequence[Party]:
        one, other = scene.facts
        return (
            Party("destroyer", (ask(DestroyDomain(one)),)),
            Party("reader", (ask(GetDomainInfoList(1, 9)),)),
            Party("limiter", (ask(MaxMem(other, 4), Physinfo()),)),
        )


class Pauses(SmallWorld):
    """A domain that is paused, unpaused and killed while it makes hypercalls."""

    name: ClassVar[str] = "pauses"
    about: ClassVar[str] = "a guest under pause and death"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> int:
        return await new_domain(world, runs=True)

    def parties(self, scene: Scene) -> Sequence[Party]:
        return (
            Party("dom0", (ask(PauseDomain(scene.facts), UnpauseDomain(scene.facts)),)),
            Party(
                "guest",
                (ask(StoreRead("/local"), PopulatePhysmap(DOMID_SELF, ((64, 1),))),),
                domid=scene.facts,
            ),
            Party("reaper", (ask(DestroyDomain(scene.facts)),)),
        )


class Watches(SmallWorld):
    """Events that travel while their hearer sleeps and calls."""

    name: ClassVar[str] = "watches"
    about: ClassVar[str] = "a watch, a sleeper and two writers"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)

    def parties(self, scene: Scene) -> Sequence[Party]:
        async def hear(world: World, scene: Scene) -> None:
            await world.hypercall(StoreWatch("/a", "t"))
            heard = world.spawn(self._listen(world, scene), "listen")
            await world.sleep(1.0)
            scene.note("slept after", len(scene.notes))
            await world.hypercall(Physinfo())
            await heard

        return (
            Party("hearer", (hear,)),
            Party("writer", (ask(StoreWrite("/a", "1"), StoreWrite("/b", "1")),)),
        )

    async def _listen(self, world: World, scene: Scene) -> None:
        for number in range(2):
            scene.note(f"heard {number}", await world.next_event())

    def outcome(self, scene: Scene) -> str:
        return f"{sorted(scene.notes)} {scene.notes.get('slept after')}"


def of(kind: type[SmallWorld], release: str) -> Blueprint:
    return blueprint(kind(), Setting(RELEASES[release], lambda: Naive({})))


def built_in(text: str, release: str) -> Blueprint:
    name, *changes = text.split()
    return asked(name, None, (f"release={release}", *changes)).blueprint()


@pytest.mark.parametrize("release", ["4.17", "4.22"])
@pytest.mark.parametrize(
    "world",
    [
        "claim-populate",
        "claim-vs-populate",
        "freeze-vs-populate",
        "observer-order0",
        "claim-in-window-order9-huge",
        "generated world=2",
        "generated world=3 planted=0",
        Locks,
        Pauses,
        Watches,
    ],
)
def test_one_schedule_for_every_class_of_orders(world: str | type[SmallWorld], release: str) -> None:
    """Exhaustive runs exactly one schedule for each set of orders that differ in commuting moves only."""
    made = built_in(world, release) if isinstance(world, str) else of(world, release)
    every, outcomes, digests = forms(made, EveryOrder())
    reduced, reached, ends = forms(made, ExhaustiveScheduler())
    assert len(reduced) == len(set(reduced))
    assert set(reduced) == set(every)
    assert (reached, ends) == (outcomes, digests)
    assert len(reduced) < len(every) or world not in (Locks, Watches)


def test_reduction_gives_nothing_up_that_random_finds() -> None:
    """Random schedules and PCT's reach no class of outcome that exhaustive does not."""
    made = built_in("claim-race superpages=1 fit=0", "4.22")
    exhaustive = explore(made, ExhaustiveScheduler(), Budget(), to_the_end=True)
    assert exhaustive.verdict == "exhausted"
    for scheduler in (RandomScheduler(1), PctScheduler(1, 3)):
        tried = explore(made, scheduler, Budget(schedules=60), to_the_end=True)
        assert set(tried.outcomes) <= set(exhaustive.outcomes)
