"""The simulator runs the parties' own coroutines in virtual time, the same way every time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, Operation, StepResult
from hypervisor.core.releases import release
from hypervisor.public.domctl import (
    CDF_HVM,
    Created,
    CreateDomain,
    DestroyDomain,
    GetDomainInfo,
    MaxMem,
    PauseDomain,
    Physinfo,
    UnpauseDomain,
)
from hypervisor.public.errors import WireError
from hypervisor.public.memory import CurrentReservation, PopulatePhysmap
from hypervisor.public.units import DOMID_SELF, PAGES_PER_MIB, VIRQ_DOM_EXC
from hypervisor.public.world import RefusedByWireError, World
from launch.simulate.sim_world import SimWorld
from launch.simulate.world import Simulator


def machine(mib: int = 1024) -> Machine:
    """A host with `mib` MiB, half of it dom0's."""
    pages = mib * PAGES_PER_MIB
    return Machine(new_host(HostConfig((pages,), dom0_pages=pages // 2), release("4.17")))


def simulator(**options: Any) -> Simulator:
    return Simulator(machine(), **options)


def toolstack(sim: Simulator) -> SimWorld:
    return sim.world(0, 99, random.Random(1))


async def build(world: World, pages: int) -> Created:
    """Create a domain, fill it, let it run."""
    created = (await world.hypercall(CreateDomain(flags=CDF_HVM))).value
    assert isinstance(created, Created)
    await world.hypercall(MaxMem(created.domid, pages * 4))
    await world.hypercall(PopulatePhysmap(created.domid, ((0, pages),)))
    await world.hypercall(UnpauseDomain(created.domid))
    return created


def test_two_populates_interleave_extent_by_extent() -> None:
    """Operations take turns: of two populates neither is a whole extent ahead of the other's turn."""
    turns: list[int] = []

    def observe(operation: Operation, _: Any) -> None:
        if isinstance(operation.request, PopulatePhysmap):
            turns.append(operation.request.domid)

    sim = simulator(observe=observe)

    async def main(world: World) -> None:
        domids = []
        for _ in range(2):
            created = (await world.hypercall(CreateDomain(flags=CDF_HVM))).value
            assert isinstance(created, Created)
            await world.hypercall(MaxMem(created.domid, 400))
            domids.append(created.domid)
        first, second = (world.hypercall(PopulatePhysmap(domid, ((0, 20),))) for domid in domids)
        assert ((await first).ret, (await second).ret) == (20, 20)

    task = sim.start(main, toolstack(sim), "main")
    sim.run()
    task.result()
    assert turns == turns[:2] * (len(turns) // 2)


def test_virtual_time_jumps_from_timer_to_timer() -> None:
    """Sleeping costs emulated time only, and run(until) stops at its time."""
    sim = simulator()
    woke: list[float] = []

    async def main(world: World) -> None:
        for _ in range(3):
            await world.sleep(1000.0)
            woke.append(world.now())

    sim.start(main, toolstack(sim), "main")
    sim.run(until=2500.0)
    assert (woke, sim.now) == ([1000.0, 2000.0], 2500.0)
    sim.run()
    assert woke == [1000.0, 2000.0, 3000.0]


def test_link_delay_is_paid_each_way() -> None:
    """A hypercall over a link of 0.5 s is answered after a second."""
    sim = simulator(link_delay=0.5)
    answered: list[float] = []

    async def main(world: World) -> None:
        await world.hypercall(Physinfo())
        answered.append(world.now())
        await world.multicall((Physinfo(), Physinfo()))
        answered.append(world.now())

    sim.start(main, toolstack(sim), "main")
    sim.run()
    assert answered == [1.0, 2.0]


def trace_of(choices: random.Random | None) -> list[tuple[int, str]]:
    """Steps of one run in which three builders race."""
    trace: list[tuple[int, str]] = []

    def choose(runnable: Sequence[Operation]) -> int:
        assert choices is not None
        return choices.randrange(len(runnable))

    sim = simulator(
        choose=None if choices is None else choose,
        observe=lambda operation, result: trace.append((operation.number, result.step)),
    )

    async def main(world: World) -> None:
        await build(world, 30)

    for name in range(3):
        sim.start(main, sim.world(0, name, random.Random(name)), str(name))
    sim.run()
    return trace


def test_same_choices_same_run() -> None:
    """A run is a function of its choices: equal ones repeat it, others lead elsewhere."""
    assert trace_of(None) == trace_of(None)
    assert trace_of(random.Random(3)) == trace_of(random.Random(3))
    assert trace_of(random.Random(3)) != trace_of(random.Random(4))


@pytest.mark.parametrize("link_delay", [0.0, 0.25])
def test_a_batch_takes_the_same_steps(link_delay: float) -> None:
    """Steps that nobody can come between, taken in one go, are those taken one by one, in the same order."""
    traces: list[list[tuple[int, int, str, bool, bool]]] = []
    for batch in (False, True):
        trace: list[tuple[int, int, str, bool, bool]] = []

        def observe(operation: Operation, result: StepResult, trace: Any = trace) -> None:
            told = (result.reply is not None, bool(result.emissions))
            trace.append((result.commit, operation.number, result.step, *told))

        sim = simulator(observe=observe, batch=batch, link_delay=link_delay)

        async def main(world: World) -> None:
            await world.sleep(world.rng.random())
            created = await build(world, 30)
            await world.hypercall(PauseDomain(created.domid))
            await world.hypercall(DestroyDomain(created.domid))

        for name in range(3):
            sim.start(main, sim.world(0, name, random.Random(name % 2)), str(name))
        sim.run()
        assert sim.steps == len(trace) == sim.machine.commit
        traces.append(trace)
    assert traces[0] == traces[1]


def test_events_reach_those_who_listen() -> None:
    """VIRQ_DOM_EXC reaches a listening toolstack; a guest may not listen."""
    sim = simulator()
    heard: list[int] = []

    async def main(world: World) -> None:
        await world.listen((VIRQ_DOM_EXC,))
        created = await build(world, 10)
        guest = sim.world(created.domid, created.incarnation, random.Random(2))
        with pytest.raises(RefusedByWireError, match="not-permitted"):
            await guest.listen((VIRQ_DOM_EXC,))
        assert (await guest.hypercall(CurrentReservation(DOMID_SELF))).ret == 10
        await world.hypercall(DestroyDomain(created.domid))
        heard.append((await world.next_event()).commit)
        with pytest.raises(RefusedByWireError) as refusal:
            await guest.hypercall(CurrentReservation(DOMID_SELF))
        assert refusal.value.error == WireError.DOMAIN_GONE.value

    task = sim.start(main, toolstack(sim), "main")
    sim.run()
    task.result()
    assert len(heard) == 1


def test_a_call_parked_by_a_pause_ends_with_its_domain() -> None:
    """A paused guest's call waits; unpause lets it go on, destruction refuses it as domain-gone."""
    sim = simulator()
    outcomes: list[object] = []

    async def guest_main(world: World) -> None:
        try:
            outcomes.append((await world.hypercall(CurrentReservation(DOMID_SELF))).ret)
            await world.sleep(10.0)
            await world.hypercall(CurrentReservation(DOMID_SELF))
        except RefusedByWireError as error:
            outcomes.append(error.error)

    async def main(world: World) -> None:
        created = await build(world, 10)
        guest = sim.world(created.domid, created.incarnation, random.Random(2))
        await world.hypercall(PauseDomain(created.domid))
        task = sim.start(guest_main, guest, "guest")
        await world.sleep(1.0)
        assert len(sim.stuck()) == 1 and not outcomes
        await world.hypercall(UnpauseDomain(created.domid))
        await world.hypercall(PauseDomain(created.domid))
        await world.sleep(20.0)
        assert len(sim.stuck()) == 1 and outcomes == [10]
        await world.hypercall(DestroyDomain(created.domid))
        await task

    task = sim.start(main, toolstack(sim), "main")
    sim.run()
    task.result()
    assert outcomes == [10, WireError.DOMAIN_GONE.value]


def test_a_killed_party_never_moves_again() -> None:
    """After kill() what was under way still happens on the host, but nobody of that party learns it."""
    sim = simulator()
    seen: list[str] = []

    async def victim(world: World) -> None:
        try:
            created = await build(world, 500)
            seen.append(f"built {created.domid}")
        finally:
            await world.hypercall(Physinfo())
            seen.append("cleaned up")

    world = toolstack(sim)
    sim.start(victim, world, "victim")
    sim.run(stop=lambda: sim.steps > 100)
    sim.kill(world)
    sim.run()
    assert seen == []
    other = sim.world(0, 100, random.Random(3))

    async def look(world: World) -> None:
        info = (await world.hypercall(GetDomainInfo(1))).value
        seen.append(str(getattr(info, "tot_pages", None)))

    sim.start(look, other, "look")
    sim.run()
    assert seen == ["500"]


def test_an_unawaited_failure_leaves_run() -> None:
    """What a party raises and nobody awaits comes out of run()."""
    sim = simulator()

    async def main(world: World) -> None:
        await world.sleep(1.0)
        raise ValueError("my own fault")

    sim.start(main, toolstack(sim), "main")
    with pytest.raises(ValueError, match="my own fault"):
        sim.run()
