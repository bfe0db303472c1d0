"""What happens when a copy-on-write break finds no memory, and when sharers die (S10, S12)."""

from __future__ import annotations

import pytest

from hypervisor.core.domain import Dying
from hypervisor.public.access import SharingBroken, WritePage
from hypervisor.public.domctl import (
    DOMINF_SHUTDOWN,
    DOMINF_SHUTDOWN_SHIFT,
    SHUTDOWN_CRASH,
    DestroyDomain,
    DomainInfo,
    GetDomainInfo,
    MaxMem,
    PauseDomain,
    UnpauseDomain,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import MEMF_POPULATE_ON_DEMAND, CurrentReservation, PopulatePhysmap
from hypervisor.public.requests import VirqEvent
from hypervisor.public.sharing import (
    RING_DISABLE,
    RING_ENABLE,
    RING_RESUME,
    SharingAudit,
    SharingEvent,
    SharingRing,
)
from hypervisor.public.units import VIRQ_DOM_EXC
from tests.core.sharing_host import CONTROL, SharingHost
from tests.core.small_host import EVERY_RELEASE

EVERYWHERE = pytest.mark.parametrize("name", EVERY_RELEASE)


@pytest.mark.rule("S10")
@EVERYWHERE
def test_without_a_helper_the_domain_crashes(name: str) -> None:
    """A write that finds no page and no ring crashes its domain, tells the control domain, never returns."""
    host = SharingHost(name)
    one, two = host.sharers()
    host.leave_free(0)
    operation = host.submit(WritePage(0, 5), two)
    told = []
    while host.machine.is_runnable(operation):
        told += host.step(operation).emissions
    assert next(one.event for one in told if isinstance(one.event, VirqEvent)).virq == VIRQ_DOM_EXC
    assert operation.reply is None
    info = host.call(GetDomainInfo(two.domid)).value
    assert isinstance(info, DomainInfo)
    assert info.flags & DOMINF_SHUTDOWN and info.flags >> DOMINF_SHUTDOWN_SHIFT == SHUTDOWN_CRASH
    assert host.submit(CurrentReservation(two.domid), two).parked, "its vcpus run no more"
    assert host.ret(PauseDomain(two.domid)) == host.ret(UnpauseDomain(two.domid)) == 0
    assert not host.machine.is_runnable(operation), "unpausing does not revive it"
    while host.ret(DestroyDomain(two.domid)):
        pass
    assert operation.abandoned
    assert (host.read(one, 0), host.counts) == (100, (1, 0))


@pytest.mark.rule("S10")
@EVERYWHERE
def test_a_helper_is_told_and_the_vcpu_waits(name: str) -> None:
    """With a ring the writer's vcpu stops, the helper hears of it, and its answer makes the write succeed."""
    host = SharingHost(name)
    one, two = host.sharers()
    host.listen(two)
    filler = host.leave_free(0)
    operation = host.submit(WritePage(0, 5), two)
    told = []
    while host.machine.is_runnable(operation):
        told += host.step(operation).emissions
    (emission,) = (one for one in told if isinstance(one.event, SharingEvent))
    assert emission.to == CONTROL
    assert emission.event == SharingEvent(two.domid, 0, True, emission.event.commit)
    assert operation.parked and not host.domain(two.domid).is_shut_down
    assert host.ret(CurrentReservation(two.domid), two) == 0, "its other vcpus run"
    assert host.ret(SharingRing(two.domid, RING_RESUME)) == 0
    host.go_on_until_parked(operation)
    assert operation.reply is None, "answered too early: it waits again"
    while host.ret(DestroyDomain(filler.domid)):
        pass
    assert host.ret(SharingRing(two.domid, RING_RESUME)) == 0
    assert host.go_on(operation).value == SharingBroken(copied=True, stalls=2)
    assert (host.read(one, 0), host.read(two, 0)) == (100, 5)


@pytest.mark.rule("S10")
def test_disabling_the_ring_lets_the_vcpu_retry_and_crash() -> None:
    """The ring closed, waiting vcpus retry without a helper: still no memory, so the domain crashes."""
    host = SharingHost()
    _, two = host.sharers()
    host.listen(two)
    host.leave_free(0)
    operation = host.fault(two, 0, 5)
    assert host.ret(SharingRing(two.domid, RING_DISABLE)) == 0
    host.go_on_until_parked(operation)
    assert host.domain(two.domid).is_shut_down


@pytest.mark.rule("S10")
def test_who_may_open_a_ring() -> None:
    """One helper at a time (EBUSY), HAP domains only (ENODEV), the control domain only, never for itself."""
    host = SharingHost()
    two, plain = host.sharer(1), host.create(hvm=True)
    assert host.ret(SharingRing(two.domid, RING_RESUME)) == -Errno.EINVAL
    host.listen(two)
    assert host.ret(SharingRing(two.domid, RING_ENABLE)) == -Errno.EBUSY
    assert host.ret(SharingRing(two.domid, 9)) == -Errno.EINVAL
    assert host.ret(SharingRing(two.domid, RING_RESUME), two) == -Errno.EPERM
    assert host.ret(SharingRing(plain.domid, RING_ENABLE)) == -Errno.ENODEV
    assert host.ret(SharingRing(0, RING_ENABLE)) == -Errno.EINVAL
    assert host.ret(SharingRing(77, RING_ENABLE)) == -Errno.ESRCH


@pytest.mark.rule("S10", "A11")
def test_others_are_refused_and_the_helper_only_told() -> None:
    """The control domain's write and a decrease get ENOMEM at once, and the helper hears without a pause."""
    host = SharingHost()
    _, two = host.sharers()
    host.listen(two)
    host.leave_free(0)
    operation = host.submit(WritePage(0, 5, two.domid))
    told = []
    while operation.reply is None:
        told += host.step(operation).emissions
    assert operation.reply.ret == -Errno.ENOMEM
    assert [one.event.vcpu_paused for one in told if isinstance(one.event, SharingEvent)] == [False]
    assert host.give(two, 0) == 0


@pytest.mark.rule("S12", "A31")
@EVERYWHERE
def test_a_dying_sharer_frees_what_only_it_shared(name: str) -> None:
    """Destruction drops shared references: others keep their pages, the last reference frees the frame."""
    host = SharingHost(name)
    one, two = host.sharers(3)
    host.nominate(host.sharer(1), 0)
    free = host.free
    while host.ret(DestroyDomain(two.domid)):
        pass
    assert (host.counts, host.shr_pages(one)) == ((4, 0), [3])
    structures = host.free - free
    assert structures > 0, "only what the domain cost Xen"
    before = host.free
    while host.ret(DestroyDomain(one.domid)):
        pass
    assert host.free == before + structures + 3
    assert host.counts == (1, 0)
    assert host.ret(SharingAudit()) == 0


@pytest.mark.rule("S12", "P8", "P10")
@pytest.mark.parametrize("pending", ["unshare", "take", "assign", "copy"])
def test_a_writer_killed_in_the_middle_of_a_copy(pending: str) -> None:
    """A kill at any point of a copy leaks nothing and frees no frame twice."""
    host = SharingHost()
    one, two = host.sharers()
    operation = host.submit(WritePage(0, 5), two)
    host.step_until(operation, pending)
    kill = host.submit(DestroyDomain(two.domid))
    host.step(kill)
    while host.domain(two.domid).shared_gfns and host.machine.is_runnable(kill):
        host.step(kill)
    while host.machine.is_runnable(operation):
        host.step(operation)
    while kill.reply is None:
        host.step(kill)
    host.assert_sound()
    assert host.host.find(two.domid) is None or host.domain(two.domid).is_dying == Dying.DEAD
    assert host.host.in_flight_pages == 0
    assert (host.read(one, 0), host.counts) == (100, (1, 0))


@pytest.mark.rule("S10", "A30")
def test_an_answer_wakes_no_vcpu_of_a_crashed_domain() -> None:
    """A domain crashes while another of its vcpus waits for the helper: the answer wakes neither of them."""
    host = SharingHost()
    one, two = host.sharers()
    request = PopulatePhysmap(two.domid, ((512, 1),), 0, MEMF_POPULATE_ON_DEMAND)
    assert host.ret(request) == 1
    host.listen(two)
    assert host.ret(MaxMem(two.domid, 0)) == 0
    waiting = host.fault(two, 0, 5)
    crashing = host.fault(two, 512, 6)
    assert host.domain(two.domid).is_shut_down
    assert host.ret(SharingRing(two.domid, RING_RESUME)) == 0
    assert not host.machine.is_runnable(waiting) and not host.machine.is_runnable(crashing)
    while host.ret(DestroyDomain(two.domid)):
        pass
    assert waiting.abandoned and crashing.abandoned
    assert host.read(one, 0) == 100
