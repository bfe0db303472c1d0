"""A toolstack at work on the real core in virtual time, and what it left on the host."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypervisor.core.domain import Domain
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine
from hypervisor.core.releases import release
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.orders import DestroyOrder, Dismiss, LaunchOrder, Outcome, Stage
from hypervisor.public.units import DOMID_SELF, PAGES_PER_MIB, Pages
from hypervisor.public.xenstore import StoreRead, StoreText
from launch.simulate.sim_world import SimWorld
from launch.simulate.world import Simulator
from tests.virtual_host import Calls, VirtualHost
from toolstack.interface import Scheme
from toolstack.service import Service

MIB = PAGES_PER_MIB
BIG = 64 * MIB
"""Pages of the usual launch."""
LATER = 10_000.0
"""Emulated seconds by which everything has ended."""


class ReleaseHost(VirtualHost):
    """A `VirtualHost` of any release."""

    def __init__(self, ram: Pages = 256 * MIB, name: str = "4.17", tmem: bool = False) -> None:
        config = HostConfig((ram,), dom0_pages=16 * MIB, xen_pages=16 * MIB, tmem=tmem)
        self.calls = Calls()
        self.simulator = Simulator(
            Machine(new_host(config, release(name))), link_delay=0.0005, history=self.calls
        )
        self.calls.simulator = self.simulator
        self._dom0 = self.simulator.world(0, 1, Random(0))


class VirtualToolstack:
    """One host with guests, one toolstack with one scheme. A 64-MiB build takes 16 s."""

    def __init__(
        self,
        scheme: Scheme,
        *,
        ram: Pages = 256 * MIB,
        parallel: int = 4,
        host: VirtualHost | None = None,
        name: int = 77,
    ) -> None:
        self.host = ReleaseHost(ram) if host is None else host
        self.machine = self.host.simulator.machine
        self.outcomes: list[Outcome] = []
        self.world = self.host.simulator.world(0, name, Random(1))
        self.service = Service(
            self.world, scheme, self.outcomes.append, parallel=parallel, pages_per_second=1024.0
        )
        self._orders = 0

    # ---- what happens

    def order(self, pages: Pages = BIG, builder: str = "hvm-4.17", max_pages: Pages = 0) -> int:
        """Hand over a launch order; its number."""
        self._orders += 1
        self.service.take(LaunchOrder(self._orders, pages, max(pages, max_pages), builder))
        return self._orders

    def destroy(self, order: int, domid: int) -> None:
        """Hand over a destroy order."""
        self.service.take(DestroyOrder(order, domid))

    def dismiss(self) -> None:
        """No more orders; run until everything is put back."""
        self.service.take(Dismiss())
        self.host.simulator.run(stop=lambda: self.service.finished)
        assert self.service.finished

    def run(self, until: float = LATER) -> None:
        """Let everybody live until that emulated second."""
        self.host.run_until(until)

    def run_until_outcome(self, order: int, stage: Stage) -> Outcome:
        """Let everybody live until that word has been said."""
        said: Callable[[], bool] = lambda: any(one.stage is stage for one in self.of(order))  # noqa: E731
        self.host.simulator.run(stop=said)
        return next(one for one in self.of(order) if one.stage is stage)

    # ---- what came of it

    def of(self, order: int) -> list[Outcome]:
        """Everything said about an order."""
        return [one for one in self.outcomes if one.order == order]

    def last(self, order: int) -> Outcome:
        """The last word about an order."""
        return self.of(order)[-1]

    def stages(self, order: int) -> list[Stage]:
        """The stages reported, in order."""
        return [one.stage for one in self.of(order)]

    def domain(self, domid: int) -> Domain:
        """The hypervisor's own record."""
        found = self.machine.host.find(domid)
        assert found is not None
        return found

    @property
    def free(self) -> Pages:
        """Free pages of the host."""
        return self.machine.host.heap.total_avail

    @property
    def domids(self) -> list[int]:
        """Domains but dom0, dying ones included."""
        return [domid for domid in sorted(self.machine.host.domains) if domid]

    @property
    def claimed(self) -> Pages:
        """outstanding_claims of the host."""
        return self.machine.host.outstanding_claims

    def node(self, path: str) -> str | None:
        """A xenstore node's text."""
        value = self.host.control(StoreRead(path)).value
        return value.value if isinstance(value, StoreText) else None

    def kill_domain(self, domid: int) -> None:
        """Destroy a domain behind the toolstack's back."""
        self.host.control(DestroyDomain(domid))

    def grow_at(self, when: float, guest: SimWorld, first: int, pages: Pages) -> list[int]:
        """Have a guest populate that many pages at that second; the list gets how many it got."""
        got: list[int] = []

        async def grow() -> None:
            await guest.sleep(max(when - guest.now(), 0.0))
            got.append((await guest.hypercall(PopulatePhysmap(DOMID_SELF, ((first, pages),)))).ret)

        guest.spawn(grow(), "grow")
        return got
