"""Guests cloned from a template: they share its pages, and their first writes take pages from the host."""

from __future__ import annotations

from random import Random

import pytest

from guests.kernel.kernel import GuestKernel
from guests.report import GuestReport
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.invariants import check, unpermitted
from hypervisor.core.machine import Machine
from hypervisor.core.releases import release
from hypervisor.core.sources import Source
from hypervisor.public.domctl import MaxMem
from hypervisor.public.units import PAGES_PER_MIB, Pages
from hypervisor.public.world import Task
from launch.cluster.cloning import shared_run
from launch.cluster.plans import guest_config, plan_guests
from launch.cluster.population import Resident, populate
from launch.scenario.models import GuestsTable, HostTable, Scenario
from launch.simulate.world import Simulator

MEMORY = 8 * PAGES_PER_MIB


class Clones:
    """A virtual host with clones on it, made as the launcher makes them."""

    def __init__(self, count: int, shared: float, rate: float, name: str = "4.17") -> None:
        self.scenario = Scenario(
            name="clones",
            host=HostTable(memory=128 * PAGES_PER_MIB),
            guests=GuestsTable(count=count, memory=MEMORY, shared=shared, shared_writes=rate),
        )
        config = HostConfig((128 * PAGES_PER_MIB,), dom0_pages=16 * PAGES_PER_MIB, xen_pages=4096)
        self.simulator = Simulator(Machine(new_host(config, release(name))))
        self.host = self.simulator.machine.host
        self.dom0 = self.simulator.world(0, 1, Random(0))
        plans = plan_guests(self.scenario, 1)
        task = self.dom0.spawn(populate(self.dom0, plans, self.scenario), "populate")
        self.simulator.run(stop=task.done)
        self.residents: list[Resident] = task.result()
        self.shared: Pages = plans[0].shared[0][1]

    def run(self, end: float) -> list[GuestReport]:
        """All guests live until emulated second `end`."""
        kernels: list[GuestKernel] = []
        tasks: list[Task[GuestReport]] = []
        for one in self.residents:
            world = self.simulator.world(*one.key, Random(one.identity.domid))
            config = guest_config(self.scenario, one.plan, one.kind, one.identity, one.frames)
            kernels.append(GuestKernel(world, config))
            tasks.append(world.spawn(kernels[-1].run(), "guest"))
        self.simulator.run(until=end)
        for kernel in kernels:
            kernel.stop()
        self.simulator.run(until=end + 1)
        assert unpermitted(check(self.host, ()), self.host.release) == ()
        return [task.result() for task in tasks]

    def clamp(self, domid: int) -> None:
        """max_pages of 100, as dom0."""

        async def call() -> int:
            return (await self.dom0.hypercall(MaxMem(domid, 400))).ret

        task = self.dom0.spawn(call(), "clamp")
        self.simulator.run(stop=task.done)
        assert task.result() == 0

    def tot_pages(self) -> list[Pages]:
        """tot_pages of every clone."""
        return [self.host.domains[one.identity.domid].tot_pages for one in self.residents]


@pytest.mark.rule("S4", "S6", "S7", "S12")
@pytest.mark.parametrize("name", ["4.3", "4.17"])
def test_clones_share_what_the_template_held(name: str) -> None:
    """Three clones need their shared half once; the template goes, and 4.3 does it without range_share."""
    clones = Clones(3, 0.5, 0.0, name)
    sharing = clones.host.sharing
    assert clones.shared == MEMORY // 2
    assert (sharing.nr_shared, sharing.nr_saved) == (clones.shared, 2 * clones.shared)
    built = MEMORY - 32  # the VGA hole has no memory
    assert clones.tot_pages() == [built - clones.shared] * 3
    assert [one.identity.domid for one in clones.residents] == clones.host.domids[1:]


@pytest.mark.rule("S9", "I8")
def test_a_storm_takes_a_page_for_every_first_write_but_the_last() -> None:
    """At 100 writes a second all sharing is over after 11 seconds: the last sharer of each page kept it."""
    clones = Clones(3, 0.5, 100.0)
    reports = clones.run(15.0)
    assert [one.shared_writes for one in reports] == [clones.shared] * 3
    assert sum(one.shared_copies for one in reports) == 2 * clones.shared
    assert sum(one.shared_kept for one in reports) == clones.shared
    assert clones.host.growth[Source.UNSHARE] == 2 * clones.shared
    assert all(pages >= MEMORY - 32 for pages in clones.tot_pages())
    assert clones.host.sharing.nr_shared == 0
    assert all(one.shared_pending == 0 for one in reports)


@pytest.mark.rule("S9")
def test_the_rate_is_kept() -> None:
    """Ten first writes a second are ten pages a second for as long as there is anything shared."""
    reports = Clones(2, 0.5, 10.0).run(20.0)
    assert all(180 <= one.shared_writes <= 200 for one in reports)


@pytest.mark.rule("S10", "S11")
def test_a_clone_held_at_max_pages_crashes() -> None:
    """A clone whose max_pages was lowered meets it at its first write: no copy, no helper, no return."""
    clones = Clones(2, 0.5, 50.0)
    held = clones.residents[0].identity.domid
    clones.clamp(held)
    reports = clones.run(60.0)
    assert clones.host.domains[held].is_shut_down
    assert (reports[0].shared_copies, reports[0].shared_pending) == (0, 1)
    assert reports[0].shared_stalled_s > 50
    assert reports[1].shared_copies == clones.shared


def test_what_can_be_shared() -> None:
    """The shared pages lie above the VGA hole, and are never more than there are."""
    assert shared_run(1000, 0.0) == ()
    assert shared_run(1000, 0.5) == ((0xC0, 500),)
    assert shared_run(300, 0.9) == ((0xC0, 108),)
