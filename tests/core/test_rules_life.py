"""Birth, pausing and death of domains, and the locks that control operations hold."""

from __future__ import annotations

import pytest

from hypervisor.core.domain import Dying
from hypervisor.core.steps import Caller
from hypervisor.core.transitions import contents
from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    DOMINF_DYING,
    DOMINF_PAUSED,
    Created,
    CreateDomain,
    DestroyDomain,
    DomainInfo,
    Frames,
    GetDomainInfo,
    GetDomainInfoList,
    MapForeign,
    MaxMem,
    PauseDomain,
    Physinfo,
    SetPagingMempoolSize,
    UnmapForeign,
    UnpauseDomain,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    ClaimPages,
    CurrentReservation,
    DecreaseReservation,
    IncreaseReservation,
    PopulatePhysmap,
)
from hypervisor.public.requests import Request, VirqEvent
from hypervisor.public.units import DOMID_ANY, PAGE_SIZE, VIRQ_DOM_EXC
from tests.core.small_host import EVERY_RELEASE, FROM_4_22, SmallHost, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)


def destroy(bench: SmallHost, who: Caller) -> int:
    """destroydomain as libxc calls it: again while it answers EAGAIN."""
    while (answer := bench.ret(DestroyDomain(who.domid))) == -Errno.EAGAIN:
        pass
    return answer


@pytest.mark.parametrize(
    ("name", "pv", "hvm"),
    [("4.3", 15, 17), ("4.12", 15, 17), ("4.17", 15, 17), ("4.21", 10, 13), ("4.22", 10, 13)],
)
@pytest.mark.rule("A31", "h35")
def test_what_createdomain_costs(name: str, pv: int, hvm: int) -> None:
    """A new domain has tot 0, max 0, is paused, and costs unclaimed pages; HAP another 256."""
    for flags, cost in ((0, pv), (CDF_HVM, hvm), (CDF_HVM | CDF_HAP, hvm + 256)):
        bench = SmallHost(name)
        free = bench.free
        created = bench.call(CreateDomain(flags=flags)).value
        assert isinstance(created, Created)
        assert free - bench.free == cost
        domain = bench.domain(created.domid)
        assert (domain.tot_pages, domain.max_pages, domain.pause_count) == (0, 0, 1)


@every_release
@pytest.mark.rule("A31", "C17", "h12")
def test_createdomain_needs_unclaimed_memory(name: str) -> None:
    """With all memory claimed no domain can be made, and the attempt leaves nothing behind."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.claim(guest, bench.free - 5) == 0
    before = contents(bench.host)
    assert bench.ret(CreateDomain()) == -Errno.ENOMEM
    changed = [part for part, digest in contents(bench.host).items() if digest != before[part]]
    assert changed == ["low memory"]  # A27: five pages were taken on the way
    assert bench.claim(guest, 0) == 0
    assert bench.ret(CreateDomain()) == 0


@every_release
@pytest.mark.rule("A31")
def test_domids_are_given_upwards_and_refused_when_taken(name: str) -> None:
    """DOMID_ANY takes the next free id; a taken one is EEXIST; 0 is any id before 4.22 and dom0 in 4.22."""
    bench = SmallHost(name)
    assert [bench.create().domid for _ in range(3)] == [1, 2, 3]
    assert bench.ret(CreateDomain(2)) == -Errno.EEXIST
    assert bench.ret(CreateDomain(77)) == 0
    assert bench.ret(CreateDomain(0)) == (-Errno.EEXIST if name in FROM_4_22 else 0)
    assert bench.ret(CreateDomain(DOMID_ANY), Caller(1)) == -Errno.EPERM


@every_release
@pytest.mark.rule("A31")
def test_a_refused_paging_pool_keeps_what_it_got(name: str) -> None:
    """ENOMEM leaves the pool larger than before; a bad size is EINVAL, a PV domain EOPNOTSUPP."""
    bench = SmallHost(name)
    guest, pv = bench.create(hvm=True, hap=True), bench.create()
    bench.leave_free(4)
    assert bench.ret(SetPagingMempoolSize(guest.domid, 300 * PAGE_SIZE)) == -Errno.ENOMEM
    assert len(bench.domain(guest.domid).paging_pool) == 260
    assert bench.ret(SetPagingMempoolSize(guest.domid, 100 * PAGE_SIZE)) == 0
    assert bench.free == 160
    assert bench.ret(SetPagingMempoolSize(guest.domid, 5)) == -Errno.EINVAL
    assert bench.ret(SetPagingMempoolSize(pv.domid, PAGE_SIZE)) == -Errno.EOPNOTSUPP
    assert bench.ret(SetPagingMempoolSize(99, PAGE_SIZE)) == -Errno.ESRCH


@every_release
@pytest.mark.rule("C30", "P10", "P9")
def test_the_claim_goes_first_and_the_pages_come_back_in_slices(name: str) -> None:
    """After kill and unclaim the claim is gone and no page free; then others take pages as they appear."""
    bench = SmallHost(name)
    victim, other = bench.create(), bench.create()
    assert bench.grow(victim, 1500) == 1500
    bench.leave_free(100)
    assert bench.claim(victim, 1600) == 0
    kill = bench.submit(DestroyDomain(victim.domid))
    bench.step(kill)
    assert [one.form for one in bench.breaks() if one.invariant == "I5"] == ["killed"]
    bench.step(kill)
    assert (bench.outstanding, bench.free) == (0, 100)
    bench.step_until(kill, "relinquish")
    bench.step(kill)
    bench.step(kill)
    assert bench.free == 612
    assert bench.grow(other, 700) == 612
    if name == "4.3":
        assert bench.finish(kill).ret == -Errno.EAGAIN
        assert destroy(bench, victim) == 0
    else:
        assert bench.finish(kill).ret == 0
    assert bench.host.find(victim.domid) is None


@every_release
@pytest.mark.rule("C31")
def test_4_3_answers_eagain_after_each_slice(name: str) -> None:
    """1500 pages are three slices: 4.3 says EAGAIN three times and then 0, later releases say 0 once."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.grow(guest, 1024 + 300) == 1324
    answers = [bench.ret(DestroyDomain(guest.domid))]
    while answers[-1] == -Errno.EAGAIN:
        answers.append(bench.ret(DestroyDomain(guest.domid)))
    assert answers[-1] == 0
    assert len(answers) > 2 if name == "4.3" else len(answers) == 1
    assert bench.ret(DestroyDomain(guest.domid)) == -Errno.ESRCH


@every_release
@pytest.mark.rule("C30")
def test_who_may_not_be_destroyed(name: str) -> None:
    """Oneself EINVAL, an unknown domain ESRCH, by a guest EPERM."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.ret(DestroyDomain(0)) == -Errno.EINVAL
    assert bench.ret(DestroyDomain(99)) == -Errno.ESRCH
    assert bench.ret(DestroyDomain(guest.domid), guest) == -Errno.EPERM


@every_release
@pytest.mark.rule("C33")
def test_a_silent_builder_leaves_its_claim(name: str) -> None:
    """Whatever else happens, a claim stands until it is cancelled, consumed or its domain killed."""
    bench = SmallHost(name)
    guest, other = bench.create(), bench.create()
    assert bench.claim(guest, 500) == 0
    assert bench.grow(guest, 100) == 100
    assert destroy(bench, other) == 0
    assert bench.outstanding == 400
    assert destroy(bench, guest) == 0
    assert bench.outstanding == 0


def zombie(bench: SmallHost) -> tuple[Caller, Frames]:
    """A destroyed domain that a foreign mapping of one page keeps, and that mapping."""
    guest = bench.create()
    assert bench.grow(guest, 20) == 20
    mapped = bench.call(MapForeign(guest.domid, singles(bench.frames_of(guest)[:1]))).value
    assert isinstance(mapped, Frames)
    assert destroy(bench, guest) == 0
    return guest, mapped


@every_release
@pytest.mark.rule("A11", "A13", "C31", "C35", "z01")
def test_a_page_reference_keeps_a_dead_domain(name: str) -> None:
    """The zombie shows its one page and the dying flag, and leaves with the mapping."""
    bench = SmallHost(name)
    guest, mapped = zombie(bench)
    info = bench.call(GetDomainInfo(guest.domid)).value
    assert isinstance(info, DomainInfo)
    assert (info.domid, info.tot_pages) == (guest.domid, 1)
    assert info.flags & DOMINF_DYING
    assert bench.ret(DestroyDomain(guest.domid)) == 0  # C31: dead is dead
    assert bench.grow(guest, 1) == 0
    assert bench.ret(UnmapForeign(guest.domid, mapped.extents)) == 0
    assert bench.host.find(guest.domid) is None


@every_release
@pytest.mark.rule("C9", "z01", "z02", "I2", "I5")
def test_a_claim_on_a_zombie_leaks_before_4_22(name: str) -> None:
    """Up to 4.21.0 it is accepted and stays in the host's total for ever; 4.22 refuses it, claim 0 too."""
    bench = SmallHost(name)
    guest, mapped = zombie(bench)
    refused = -Errno.EINVAL if name in FROM_4_22 else 0
    assert bench.claim(guest, 0) == refused
    assert bench.claim(guest, 50) == refused
    assert bench.ret(UnmapForeign(guest.domid, mapped.extents)) == 0
    leak = {"4.22": 0, "claim-sets": 0, "4.21": 49}.get(
        name, 50
    )  # up to 4.20 the last page going raised it (C21)
    assert bench.outstanding == leak
    assert [(one.invariant, one.form) for one in bench.breaks()] == ([("I2", "leak")] if leak else [])


@every_release
@pytest.mark.rule("C35")
def test_a_domain_in_teardown_looks_alive(name: str) -> None:
    """While its pages go the flags say paused, not dying; tot_pages falls."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.grow(guest, 1500) == 1500
    kill = bench.submit(DestroyDomain(guest.domid))
    for _ in range(4):
        bench.step(kill)
    assert bench.domain(guest.domid).is_dying == Dying.DYING
    info = bench.call(GetDomainInfo(guest.domid)).value  # the lock is free between two slices
    assert isinstance(info, DomainInfo)
    assert info.flags & (DOMINF_PAUSED | DOMINF_DYING) == DOMINF_PAUSED
    assert 0 < info.tot_pages < 1500


@every_release
@pytest.mark.rule("C31")
def test_death_is_announced(name: str) -> None:
    """VIRQ_DOM_EXC goes to whoever listens when the domain is dead, and again when it is gone."""
    bench = SmallHost(name)
    guest = bench.create()
    kill = bench.submit(DestroyDomain(guest.domid))
    events = []
    while kill.reply is None:
        events += [(one.to, one.event) for one in bench.step(kill).emissions]
    assert [to for to, _ in events] == [None, None]
    assert all(isinstance(event, VirqEvent) and event.virq == VIRQ_DOM_EXC for _, event in events)


@every_release
@pytest.mark.rule("P10", "A12")
def test_an_extent_in_flight_at_the_kill_returns_to_the_heap(name: str) -> None:
    """assign refuses a dying domain, whose populate answers what it had done."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    populate = bench.submit(PopulatePhysmap(guest.domid, ((0, 4),), 2))
    bench.step_until(populate, "map")
    bench.step(populate)
    bench.step(populate)
    assert destroy(bench, guest) == 0
    assert bench.host.find(guest.domid) is None
    assert bench.finish(populate).ret == 1
    assert bench.host.in_flight_pages == 0


@every_release
@pytest.mark.rule("P10")
def test_an_old_request_touches_no_later_domain_of_the_same_number(name: str) -> None:
    """A decrease and a second destroy under way when the domid is given anew leave the newcomer alone."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.grow(guest, 700) == 700
    frames = bench.frames_of(guest)
    decrease = bench.submit(DecreaseReservation(guest.domid, singles(frames)))
    bench.step(decrease)
    bench.step(decrease)
    second = bench.submit(DestroyDomain(guest.domid))
    bench.step(second)
    bench.step(second)
    assert destroy(bench, guest) == 0
    assert bench.ret(CreateDomain(guest.domid)) == 0
    assert bench.ret(MaxMem(guest.domid, 4000)) == 0
    assert bench.ret(IncreaseReservation(guest.domid, 700)) == 700
    assert bench.finish(decrease).ret == 1
    assert bench.finish(second).ret == -Errno.ESRCH
    assert bench.domain(guest.domid).tot_pages == 700


@every_release
@pytest.mark.rule("A23", "A31", "P10")
def test_a_domain_across_two_nodes_is_given_back_to_both(name: str) -> None:
    """Pages next to each other on two nodes return to their own."""
    bench = SmallHost(name, nodes=(400, 600))
    free = [bench.host.heap.node_avail(node) for node in (0, 1)]
    guest = bench.create()
    bench.grow(guest, bench.free)
    assert bench.free == 0
    assert destroy(bench, guest) == 0
    assert [bench.host.heap.node_avail(node) for node in (0, 1)] == free


@every_release
@pytest.mark.rule("P9")
def test_domctls_exclude_each_other_and_memory_ops_do_not_wait(name: str) -> None:
    """While a destroy is at work, no domctl of another caller moves; a claim and a physinfo do."""
    bench = SmallHost(name)
    guest, victim = bench.create(), bench.create()
    killing = bench.submit(DestroyDomain(victim.domid))
    bench.step(killing)
    for request in (MaxMem(guest.domid, 4), PauseDomain(guest.domid), DestroyDomain(guest.domid)):
        assert not bench.machine.is_runnable(bench.submit(request))
    asking = bench.submit(GetDomainInfo(guest.domid))
    assert bench.machine.is_runnable(asking) == (name in FROM_4_22)  # it takes the lock no more
    for free_of_it in (ClaimPages(guest.domid, 5), Physinfo(), CurrentReservation(guest.domid)):
        assert bench.finish(bench.submit(free_of_it)).ret >= 0
    waiting = [one for one in bench.under_way if one is not killing]
    assert bench.finish(killing).ret == 0
    assert all(bench.machine.is_runnable(one) for one in waiting)


@every_release
@pytest.mark.rule("P9", "P10")
def test_a_destroy_drops_the_domctl_lock_between_slices(name: str) -> None:
    """At each preemption point another domctl may win; the slice itself holds the lock."""
    bench = SmallHost(name)
    victim, other = bench.create(), bench.create()
    assert bench.grow(victim, 1500) == 1500
    kill = bench.submit(DestroyDomain(victim.domid))
    clamp = bench.submit(MaxMem(other.domid, 40))
    bench.step_until(kill, "relinquish")
    assert bench.machine.is_runnable(clamp)
    bench.step(kill)
    assert kill.pending is not None
    assert kill.pending.name == "merge"
    assert not bench.machine.is_runnable(clamp)
    bench.step(kill)
    assert bench.machine.is_runnable(clamp)
    assert bench.finish(clamp).ret == 0


@every_release
@pytest.mark.rule("P9", "C36")
def test_sysctls_exclude_each_other_and_not_domctls(name: str) -> None:
    """A listing under way holds back another sysctl, but no domctl."""
    bench = SmallHost(name)
    guest = bench.create()
    listing = bench.submit(GetDomainInfoList())
    bench.step(listing)
    reading = bench.submit(Physinfo())
    assert not bench.machine.is_runnable(reading)
    assert bench.finish(bench.submit(MaxMem(guest.domid, 8))).ret == 0
    bench.finish(listing)
    assert bench.finish(reading).ret == 0


@every_release
@pytest.mark.rule("P9")
@pytest.mark.parametrize(
    "request_of",
    [MaxMem, PauseDomain, UnpauseDomain, DestroyDomain, SetPagingMempoolSize],
    ids=lambda kind: kind.__name__,
)
def test_a_domctl_on_an_unknown_domain_is_esrch(name: str, request_of: type) -> None:
    """ESRCH for an unknown domain, where a claim says EINVAL; EPERM for a guest on a known one."""
    bench = SmallHost(name)
    guest, other = bench.create(), bench.create()
    extra = (PAGE_SIZE,) if request_of in (MaxMem, SetPagingMempoolSize) else ()
    unknown: Request = request_of(99, *extra)
    known: Request = request_of(other.domid, *extra)
    assert bench.ret(unknown) == -Errno.ESRCH
    assert bench.ret(known, guest) == -Errno.EPERM


@every_release
@pytest.mark.rule("C32")
def test_a_paused_domains_requests_wait(name: str) -> None:
    """A request of a paused domain is parked; it moves at the last unpause and never after a destroy."""
    bench = SmallHost(name)
    guest, doomed = bench.create(), bench.create()
    for who in (guest, doomed):
        assert bench.ret(PauseDomain(who.domid)) == 0
    assert bench.ret(PauseDomain(guest.domid)) == 0
    waiting = bench.submit(IncreaseReservation(guest.domid, 2), guest)
    lost = bench.submit(IncreaseReservation(doomed.domid, 2), doomed)
    assert waiting.parked
    assert not bench.machine.is_runnable(waiting)
    assert bench.grow(guest, 1) == 1  # the control domain's own request on it does not wait
    assert bench.ret(UnpauseDomain(guest.domid)) == 0
    assert not bench.machine.is_runnable(waiting)
    assert bench.ret(UnpauseDomain(guest.domid)) == 0
    assert bench.finish(waiting).ret == 2
    assert bench.ret(UnpauseDomain(guest.domid)) == -Errno.EINVAL
    assert destroy(bench, doomed) == 0
    assert lost.abandoned
    assert not bench.machine.is_runnable(lost)
