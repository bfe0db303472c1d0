"""A host in one thread and virtual time for tests of guests: the simulator, and dom0's hand on it."""

from __future__ import annotations

from random import Random
from typing import Any

from guests.config import GuestConfig
from guests.kernel.kernel import GuestKernel
from guests.report import GuestReport
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine
from hypervisor.core.releases import release
from hypervisor.public.domctl import CDF_HAP, CDF_HVM, Created, CreateDomain, Frames, MaxMem, UnpauseDomain
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import PAGES_PER_MIB, Pages, Runs, pages_to_kib
from hypervisor.public.world import Task
from hypervisor.public.xenstore import StoreWrite, memory_target_path, static_max_path
from launch.simulate.sim_world import SimWorld
from launch.simulate.world import Simulator

CONTROL = 0


class Calls:
    """A history: what each domain called and when, and how many calls it had unanswered at once."""

    def __init__(self) -> None:
        self.simulator: Simulator | None = None
        self.sent: dict[int, list[tuple[float, Request]]] = {}
        self.unanswered: dict[int, int] = {}
        self.most_unanswered: dict[int, int] = {}

    def invoked(self, domid: int, incarnation: int, seq: int, requests: tuple[Request, ...]) -> None:
        assert self.simulator is not None
        now = self.simulator.now
        self.sent.setdefault(domid, []).extend((now, request) for request in requests)
        self.unanswered[domid] = self.unanswered.get(domid, 0) + 1
        self.most_unanswered[domid] = max(self.most_unanswered.get(domid, 0), self.unanswered[domid])

    def returned(self, domid: int, incarnation: int, seq: int, replies: tuple[Reply, ...] | str) -> None:
        self.unanswered[domid] -= 1


class VirtualHost:
    """256 MiB, 32 of them dom0's and Xen's; a call takes 2 x 0.5 ms on the link."""

    def __init__(self, ram: Pages = 256 * PAGES_PER_MIB) -> None:
        config = HostConfig((ram,), dom0_pages=16 * PAGES_PER_MIB, xen_pages=16 * PAGES_PER_MIB)
        self.calls = Calls()
        self.simulator = Simulator(
            Machine(new_host(config, release("4.17"))), link_delay=0.0005, history=self.calls
        )
        self.calls.simulator = self.simulator
        self._dom0 = self.simulator.world(CONTROL, 1, Random(0))

    @property
    def now(self) -> float:
        return self.simulator.now

    def run_until(self, end: float) -> None:
        """Let everybody live until emulated second `end`."""
        self.simulator.run(until=end)

    def control(self, request: Request) -> Reply:
        """One request as dom0; guests go on meanwhile."""

        async def call() -> Reply:
            return await self._dom0.hypercall(request)

        task = self._dom0.spawn(call(), "dom0")
        self.simulator.run(stop=task.done)
        return task.result()

    def set_target(self, domid: int, pages: Pages) -> None:
        """Write memory/target."""
        self.control(StoreWrite(memory_target_path(domid), str(pages_to_kib(pages))))

    def set_max(self, domid: int, pages: Pages) -> None:
        """XEN_DOMCTL_max_mem."""
        self.control(MaxMem(domid, pages_to_kib(pages)))

    def tot_pages(self, domid: int) -> Pages:
        """What the hypervisor says the domain has."""
        domain = self.simulator.machine.host.find(domid)
        assert domain is not None
        return domain.tot_pages

    def build(self, pages: Pages, static_max: Pages, *, hvm: bool = True) -> tuple[SimWorld, Runs]:
        """A running domain of `pages`, and the frames it owns."""
        created = self.control(CreateDomain(flags=CDF_HVM | CDF_HAP if hvm else 0)).value
        assert isinstance(created, Created)
        self.set_max(created.domid, static_max)
        populated = self.control(PopulatePhysmap(created.domid, ((0, pages),)))
        assert populated.ret == pages
        self.control(StoreWrite(static_max_path(created.domid), str(pages_to_kib(static_max))))
        self.set_target(created.domid, pages)
        self.control(UnpauseDomain(created.domid))
        frames = populated.value.extents if isinstance(populated.value, Frames) else ((0, pages),)
        return self.simulator.world(created.domid, created.incarnation, Random(created.domid)), frames


class Guest:
    """One guest running on a `VirtualHost`."""

    def __init__(
        self, host: VirtualHost, pages: Pages, static_max: Pages, *, video: Pages = 0, **changes: Any
    ) -> None:
        """`video` pages of static-max are none of the kernel's; `changes` are fields of its `GuestConfig`."""
        self.host = host
        hvm = changes.get("kind", "hvm") == "hvm"
        world, frames = host.build(pages, static_max + video, hvm=hvm)
        self.world = world
        self.domid = world.domid
        identity = {"domid": world.domid, "incarnation": world.caller.incarnation, "secret": b""}
        self.config = GuestConfig(**identity, static_max=static_max, frames=frames, **changes)
        self.kernel = GuestKernel(world, self.config)
        self.task: Task[GuestReport] = world.spawn(self.kernel.run(), "guest")

    @property
    def sent(self) -> list[tuple[float, Request]]:
        """What it called, with the second it did so."""
        return self.host.calls.sent.get(self.domid, [])

    @property
    def most_unanswered(self) -> int:
        """Most calls it had unanswered at once."""
        return self.host.calls.most_unanswered.get(self.domid, 0)

    def report(self) -> GuestReport:
        """The guest's own figures now."""
        return self.kernel.report()

    def tot_pages(self) -> Pages:
        """The hypervisor's figure, which must be the guest's own."""
        return self.host.tot_pages(self.domid)
