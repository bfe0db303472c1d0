"""A host small enough to reason about by hand, and short names for what every rule test does to it."""

from __future__ import annotations

from hypervisor.core.domain import Domain
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.invariants import Broken, check, check_counters, unpermitted
from hypervisor.core.machine import Machine, Operation, StepResult, run_alone
from hypervisor.core.releases import RELEASES, Release, release
from hypervisor.core.steps import Caller
from hypervisor.core.transitions import Auditor, contents, trace
from hypervisor.public.domctl import CDF_HAP, CDF_HVM, Created, CreateDomain, MaxMem, UnpauseDomain
from hypervisor.public.memory import ClaimPages, IncreaseReservation, PopulatePhysmap
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import Mfn, Pages, Runs, pages_to_kib

CONTROL = Caller(0, 0)
EVERY_RELEASE = tuple(RELEASES)
WITH_WINDOW = ("4.3", "4.12", "4.17", "4.21")
FROM_4_22 = ("4.22", "claim-sets")
UNLIMITED_KIB = 0xFFFF_FFFF * 4


class SmallHost:
    """A machine of a few MiB. Every request that runs alone is checked against every invariant."""

    def __init__(
        self,
        name: str | Release = "4.17",
        pages: Pages = 4096,
        nodes: tuple[Pages, ...] = (),
        low_mem_virq_pages: Pages = 1,
        llc_coloring: bool = False,
        tmem: bool = False,
        tmem_compress: bool = False,
    ) -> None:
        config = HostConfig(
            nodes or (pages,),
            dom0_pages=16,
            xen_pages=16,
            low_mem_virq_pages=low_mem_virq_pages,
            llc_coloring=llc_coloring,
            tmem=tmem,
            tmem_compress=tmem_compress,
        )
        self.machine = Machine(new_host(config, name if isinstance(name, Release) else release(name)))
        self.host = self.machine.host
        self.auditor = Auditor(self.host)
        self.under_way: list[Operation] = []
        self.seen: set[tuple[str, str]] = set()
        """(invariant, form) of every break met, all of them permitted."""

    @property
    def free(self) -> Pages:
        """total_avail_pages."""
        return self.host.heap.total_avail

    @property
    def outstanding(self) -> Pages:
        """outstanding_claims."""
        return self.host.outstanding_claims

    @property
    def unclaimed(self) -> int:
        """What another caller sees as free - outstanding."""
        return self.free - self.outstanding

    def domain(self, domid: int) -> Domain:
        """The domain, which must exist."""
        found = self.host.find(domid)
        assert found is not None
        return found

    def submit(self, request: Request, caller: Caller = CONTROL) -> Operation:
        """Start a request; step it with `step`."""
        operation = self.machine.submit(caller, request)
        self.under_way.append(operation)
        return operation

    def step(self, operation: Operation) -> StepResult:
        """One atomic step; fails on any break that the release does not permit."""
        declared = operation.pending
        assert declared is not None
        result = self.machine.step(operation)
        if operation.reply is not None and operation in self.under_way:
            self.under_way.remove(operation)
        pending = [one.pending for one in self.under_way if one.pending is not None]
        self.judge(self.auditor.after(declared) + check_counters(self.host, pending))
        return result

    def step_until(self, operation: Operation, pending: str) -> None:
        """Step until the declared next step has this name."""
        while operation.pending is None or operation.pending.name != pending:
            self.step(operation)

    def finish(self, operation: Operation) -> Reply:
        """Step to the reply, nobody else moving."""
        while operation.reply is None:
            self.step(operation)
        self.assert_sound()
        return operation.reply

    def call(self, request: Request, caller: Caller = CONTROL) -> Reply:
        """Run a request alone. A refused one must leave no trace but what a rule of the release permits."""
        before = contents(self.host)
        operation = self.submit(request, caller)
        steps: list[str] = []
        while operation.reply is None:
            steps.append(self.step(operation).step)
        self.assert_sound(trace(before, contents(self.host), request, operation.reply, steps))
        return operation.reply

    def ret(self, request: Request, caller: Caller = CONTROL) -> int:
        """What the request answers."""
        return self.call(request, caller).ret

    def breaks(self) -> tuple[Broken, ...]:
        """Every invariant that does not hold now, permitted or not."""
        return check(self.host, [one.pending for one in self.under_way if one.pending is not None])

    def assert_sound(self, broken: tuple[Broken, ...] = ()) -> None:
        """No break beyond what the release permits."""
        self.judge((*broken, *self.breaks()))

    def judge(self, broken: tuple[Broken, ...]) -> None:
        """Keep what is permitted, fail on what is not."""
        self.seen |= {(one.invariant, one.form) for one in broken}
        assert unpermitted(broken, self.host.release) == ()

    def create(self, hvm: bool = False, max_pages: Pages | None = None, hap: bool = False) -> Caller:
        """A running domain without memory; max_pages None is unlimited."""
        flags = (CDF_HVM if hvm else 0) | (CDF_HAP if hap else 0)
        created = self.call(CreateDomain(flags=flags)).value
        assert isinstance(created, Created)
        kib = UNLIMITED_KIB if max_pages is None else pages_to_kib(max_pages)
        assert self.ret(MaxMem(created.domid, kib)) == 0
        assert self.ret(UnpauseDomain(created.domid)) == 0
        return Caller(created.domid, created.incarnation)

    def grow(self, who: Caller, pages: Pages, order: int = 0) -> int:
        """Extents of this order added to the domain without mapping them, by the control domain."""
        return self.ret(IncreaseReservation(who.domid, pages >> order, order))

    def populate(self, who: Caller, gfn: int, pages: Pages, order: int = 0) -> int:
        """Extents populated from gfn on, by the control domain."""
        return self.ret(PopulatePhysmap(who.domid, ((gfn, pages >> order),), order))

    def claim(self, who: Caller, total: Pages) -> int:
        """XENMEM_claim_pages for a wanted total."""
        return self.ret(ClaimPages(who.domid, total))

    def leave_free(self, pages: Pages) -> Caller:
        """A domain that takes memory until exactly this much is free."""
        filler = self.create()
        assert self.free >= pages
        run_alone(self.machine, CONTROL, IncreaseReservation(filler.domid, self.free - pages))
        assert self.free == pages
        self.auditor = Auditor(self.host)  # so many steps are not judged one by one
        return filler

    def frames_of(self, who: Caller) -> list[Mfn]:
        """The domain's frames, ascending."""
        return [mfn for mfn in range(self.host.total_pages) if self.host.frames.owner(mfn) == who.domid]


def singles(frames: list[int]) -> Runs:
    """A list of single frames as runs."""
    return tuple((frame, 1) for frame in frames)
