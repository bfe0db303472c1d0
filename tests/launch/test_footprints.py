"""What two steps touch decides whether the explorer tries both orders: too little would hide races."""

from __future__ import annotations

from hypervisor.core.steps import Caller, Step
from hypervisor.public.counterfactual import MaxMemBatch, Mediate
from hypervisor.public.domctl import CreateDomain
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.requests import Request
from hypervisor.public.units import DomId
from hypervisor.public.xenstore import StoreTransaction, StoreWrite
from launch.explore.footprint import Footprints, commute
from tests.core.small_host import CONTROL, SmallHost


def pending(bench: SmallHost, request: Request, caller: Caller = CONTROL) -> Step:
    """The step that a request would do next."""
    step = bench.submit(request, caller).pending
    assert step is not None
    return step


def together(bench: SmallHost, one: Step, other: Step, domid: DomId = 0) -> bool:
    """True when the explorer would try only one order; `domid` asks for the second."""
    footprints = Footprints()
    host = bench.host
    return commute(footprints.of(one, 0, host), footprints.of(other, domid, host))


def test_a_batch_of_limits_sees_a_new_domain() -> None:
    """H4's batch lists every domain, so a createdomain before it changes its answer."""
    bench = SmallHost("4.17")
    guest = bench.create()
    batch = pending(bench, MaxMemBatch(((guest.domid, 4096),)))
    assert not together(bench, batch, pending(bench, CreateDomain()))


def test_a_transaction_meets_writes_below_a_home() -> None:
    """Whether it is told EAGAIN depends on them."""
    bench = SmallHost("4.17")
    path = "/local/domain/1/memory/target"
    transaction = pending(bench, StoreTransaction(((path, None),), ((path, "7"),)))
    assert not together(bench, transaction, pending(bench, StoreWrite(path, "8")))


def test_becoming_the_mediator_meets_a_guests_populate() -> None:
    """Whoever comes first decides whether the guest is asked about; two guests' tickets meet as well."""
    bench = SmallHost("4.17")
    one, two = bench.create(), bench.create()
    populate = [pending(bench, PopulatePhysmap(who.domid, ((0, 1),)), who) for who in (one, two)]
    assert not together(bench, pending(bench, Mediate(True)), populate[0], one.domid)
    assert bench.ret(Mediate(True)) == 0
    footprints, host = Footprints(), bench.host
    first, second = populate
    assert not commute(footprints.of(first, one.domid, host), footprints.of(second, two.domid, host))
