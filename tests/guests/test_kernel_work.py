"""Linux's delayed work: queued at most once, never running beside itself."""

from __future__ import annotations

from random import Random

from guests.kernel.work import Body, DelayedWork
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine
from hypervisor.core.releases import release
from launch.simulate.world import Simulator


async def unguarded(body: Body) -> None:
    await body()


class Worker:
    """A work that takes 5 seconds; `runs` holds (start, end)."""

    def __init__(self) -> None:
        host = new_host(HostConfig((4096,), dom0_pages=1, xen_pages=1), release("4.17"))
        self.simulator = Simulator(Machine(host))
        self.world = self.simulator.world(1, 1, Random(0))
        self.work = DelayedWork(self.world, self._labour, unguarded, "work")
        self.runs: list[tuple[float, float]] = []
        self.delay_after: float | None = None

    async def _labour(self) -> None:
        start = self.world.now()
        await self.world.sleep(5.0)
        self.runs.append((start, self.world.now()))
        if self.delay_after is not None:
            self.work.schedule(self.delay_after)
            self.delay_after = None


def test_a_queued_work_keeps_its_time() -> None:
    """Queueing again, sooner or later, changes nothing while the work is queued."""
    worker = Worker()
    assert [worker.work.schedule(10.0), worker.work.schedule(0.0)] == [True, False]
    worker.simulator.run(until=100.0)
    assert worker.runs == [(10.0, 15.0)]


def test_a_work_queued_while_it_runs_follows_itself() -> None:
    """Queued while running it starts when the run has ended, and never twice at once."""
    worker = Worker()
    worker.work.schedule(0.0)
    worker.simulator.run(until=2.0)
    assert worker.work.running and worker.work.schedule(0.0)
    worker.simulator.run(until=100.0)
    assert worker.runs == [(0.0, 5.0), (5.0, 10.0)]


def test_a_delay_asked_for_by_a_run_that_is_queued_again_is_dropped() -> None:
    """As in Linux, the run's own wish for a later start is void when a start is queued already."""
    worker = Worker()
    worker.delay_after = 30.0
    worker.work.schedule(0.0)
    worker.simulator.run(until=2.0)
    worker.work.schedule(0.0)
    worker.simulator.run(until=100.0)
    assert worker.runs == [(0.0, 5.0), (5.0, 10.0)]


def test_cancel_ends_what_is_queued_and_what_runs() -> None:
    """After cancel() neither the run under way nor the queued one goes on."""
    worker = Worker()
    worker.work.schedule(0.0)
    worker.simulator.run(until=2.0)
    worker.work.schedule(1.0)
    worker.work.cancel()
    worker.simulator.run(until=100.0)
    assert worker.runs == []
