"""The tmem controls as a toolstack uses them, and as step 6 of `clamp`, on the real core in virtual time."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

import pytest

from hypervisor.public.domctl import MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.orders import Stage
from hypervisor.public.requests import Reply, Request
from hypervisor.public.tmem import TMEM_EPHEMERAL, TmemNewPool, TmemPutPage
from hypervisor.public.units import PAGES_PER_MIB, Pages
from hypervisor.public.world import IndefiniteError, World
from launch.cluster.leftovers import find_leftovers
from launch.simulate.sim_world import SimWorld
from tests.toolstack.virtual_toolstack import BIG, MIB, ReleaseHost, VirtualToolstack
from toolstack.clamp import Clamp
from toolstack.interface import LaunchRefusedError
from toolstack.naive import Naive
from toolstack.need import need_memory
from toolstack.service import Service
from toolstack.tmem_controls import TmemFreeze, flush, freeze, query_freeable, thaw

T = TypeVar("T")
NEED = need_memory("hvm-4.17", BIG, 1)


class TmemLab(VirtualToolstack):
    """A toolstack on a host with tmem, and a guest with an ephemeral pool."""

    def __init__(self, scheme: Clamp | Naive, guest_pages: Pages = 8 * MIB, ram: Pages = 256 * MIB) -> None:
        super().__init__(scheme, host=ReleaseHost(ram, name="4.12", tmem=True))
        self.guest, _ = self.host.build(guest_pages, 240 * MIB)
        assert self.ask(self.guest, TmemNewPool(TMEM_EPHEMERAL)) == 0

    def ask(self, world: SimWorld, request: Request) -> int:
        """What a domain's request answers."""

        async def ask() -> int:
            return (await world.hypercall(request)).ret

        return self.await_(world, ask())

    def await_(self, world: SimWorld, body: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        task = world.spawn(body, "test")
        self.host.simulator.run(stop=task.done)
        return task.result()

    def put(self, number: int) -> int:
        """One ephemeral put."""
        return self.ask(self.guest, TmemPutPage(0, (number >> 6, 0, 0), number & 63, 0, number))

    def fill(self, pages: Pages) -> None:
        """Put so many pages."""
        for number in range(pages):
            assert self.put(number) == 1


@pytest.mark.rule("T14", "L17")
def test_freeze_and_thaw_stop_and_allow_new_puts() -> None:
    """A frozen client's new put answers EFROZEN until it is thawed; an unknown client is an error."""
    lab = TmemLab(Naive({}))
    lab.await_(lab.world, freeze(lab.world, lab.guest.domid))
    assert lab.put(1) == -Errno.EFROZEN
    lab.await_(lab.world, thaw(lab.world))
    assert lab.put(1) == 1
    with pytest.raises(LaunchRefusedError, match="tmem control"):
        lab.await_(lab.world, freeze(lab.world, 99))


@pytest.mark.rule("T15", "T16")
def test_flush_gives_evicted_pages_to_the_heap() -> None:
    """What query_freeable tells, flush delivers: free memory grows by the pages it says it gave."""
    lab = TmemLab(Naive({}))
    lab.fill(600)
    freeable = lab.await_(lab.world, query_freeable(lab.world))
    assert freeable == 600 // PAGES_PER_MIB * PAGES_PER_MIB
    free = lab.free
    given = lab.await_(lab.world, flush(lab.world, 500))
    assert given >= 500
    assert lab.free == free + given


def test_where_there_is_no_tmem_the_controls_refuse() -> None:
    """On 4.17 a freeze is refused by name, not passed over."""
    lab = VirtualToolstack(Naive({}))
    task = lab.world.spawn(freeze(lab.world), "test")
    with pytest.raises(LaunchRefusedError, match="ENOSYS"):
        lab.host.simulator.run(stop=task.done) or task.result()


def test_the_last_launch_to_let_go_thaws() -> None:
    """Two launches hold one freeze; puts pass again when both have let go."""
    lab = TmemLab(Naive({}))
    shared = TmemFreeze()
    for order in (1, 2):
        lab.await_(lab.world, shared.hold(lab.world, order))
    lab.await_(lab.world, shared.let_go(lab.world, 1))
    assert lab.put(1) == -Errno.EFROZEN
    lab.await_(lab.world, shared.let_go(lab.world, 2))
    assert lab.put(1) == 1


@pytest.mark.rule("T14")
@pytest.mark.parametrize("builds", [True, False])
def test_clamp_freezes_for_the_length_of_a_launch(builds: bool) -> None:
    """No put passes while a launch is under way, and all do after it, built or refused."""
    lab = TmemLab(Clamp({"tmem": "freeze"}))
    order = lab.order(BIG if builds else 400 * MIB)
    lab.run_until_outcome(order, Stage.ADMITTED if builds else Stage.REFUSED)
    during = lab.put(1)
    lab.run()
    assert during == (-Errno.EFROZEN if builds else 1)
    assert lab.put(2) == 1
    running = [(lab.guest.domid, lab.guest.caller.incarnation), (lab.last(order).domid, 2)]
    assert not any("frozen" in line for line in lab.await_(lab.world, find_leftovers(lab.world, {}, running)))


def test_a_freeze_left_behind_is_a_leftover() -> None:
    """I10: a client still frozen at the end is named."""
    lab = TmemLab(Naive({}))
    lab.await_(lab.world, freeze(lab.world))
    found = lab.await_(lab.world, find_leftovers(lab.world, {}, [(lab.guest.domid, 1)]))
    assert f"domain {lab.guest.domid}: its tmem is frozen" in found


@pytest.mark.rule("T15")
@pytest.mark.parametrize(("tmem", "stage"), [("freeze", Stage.REFUSED), ("flush", Stage.BUILT)])
def test_clamp_flushes_what_the_launch_lacks(tmem: str, stage: Stage) -> None:
    """Memory that sits in ephemeral pages admits a launch only if the scheme flushes it."""
    lab = TmemLab(Clamp({"tmem": tmem}), ram=128 * MIB)
    filler, _ = lab.host.build(lab.free - NEED - 1500, 128 * MIB)
    lab.fill(3000)
    assert lab.free < NEED
    order = lab.order()
    lab.run()
    assert lab.last(order).stage is stage
    assert filler.domid in lab.domids


def test_clamp_with_tmem_controls_needs_a_release_that_has_tmem() -> None:
    """The parameter narrows the releases of the scheme."""
    assert Clamp({}).releases is None
    assert Clamp({"tmem": "freeze"}).releases == ("4.3", "4.12")


class LostLimits:
    """A toolstack's world whose replies to max_mem are lost from a moment on."""

    def __init__(self, world: SimWorld) -> None:
        self._world = world
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    async def hypercall(self, request: Request) -> Reply:
        """As the world's own."""
        if self.lost and isinstance(request, MaxMem):
            raise IndefiniteError("the link is gone")
        return await self._world.hypercall(request)


@pytest.mark.rule("T14")
def test_a_clamp_that_cannot_restore_its_limits_thaws_all_the_same() -> None:
    """The link is lost when max_pages is to be put back at the end of a build: puts pass from then on."""
    lab = TmemLab(Clamp({"tmem": "freeze"}))
    world = LostLimits(lab.world)
    scheme, said = Clamp({"tmem": "freeze"}), lab.outcomes
    lab.service = Service(cast(World, world), scheme, said.append, parallel=4, pages_per_second=1024.0)
    order = lab.order(BIG)
    lab.run_until_outcome(order, Stage.ADMITTED)
    assert lab.domain(lab.guest.domid).max_pages < 240 * MIB and lab.put(1) == -Errno.EFROZEN
    world.lost = True
    lab.run()
    assert lab.last(order).stage is Stage.FAILED and "the link is gone" in lab.last(order).reason
    assert lab.put(2) == 1
