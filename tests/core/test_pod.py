"""Populate on demand: entries, cache, touches, sweeps, and what balloon drivers return (A9, A29, A30)."""

from __future__ import annotations

import pytest

from hypervisor.core.steps import domain_resource, p2m_resource
from hypervisor.public.access import ReadPage, WritePage
from hypervisor.public.domctl import DestroyDomain, MapForeign, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    MEMF_POPULATE_ON_DEMAND,
    DecreaseReservation,
    MaximumGpfn,
    PopulatePhysmap,
)
from hypervisor.public.pod import GetPodTarget, PodTarget, SetPodTarget
from hypervisor.public.sharing import C_HANDLE_INVALID
from hypervisor.public.units import Pages
from tests.core.pod_requests import START, figures, mark, target
from tests.core.sharing_host import SharingHost
from tests.core.small_host import EVERY_RELEASE, SmallHost

EVERYWHERE = pytest.mark.parametrize("name", EVERY_RELEASE)


@pytest.mark.rule("A9", "A5")
@EVERYWHERE
def test_marking_takes_no_page(name: str) -> None:
    """Marked gfns cost nothing, in extents of any order; by 4.22 a domain may not mark its own."""
    host = SmallHost(name)
    who = host.create(hvm=True)
    free = host.free
    assert mark(host, who, START, 2, 9) == 2
    assert mark(host, who, 1 << 18, 1, 18) == 1
    assert mark(host, who, START, 5) == 5, "again: replaced, not counted twice"
    assert (figures(host, who), host.free) == ((0, 0, 1024 + (1 << 18)), free)
    assert host.ret(MaximumGpfn(who.domid)) == (1 << 19) - 1
    own = PopulatePhysmap(who.domid, ((0, 3),), 0, MEMF_POPULATE_ON_DEMAND)
    assert host.ret(own, who) == (0 if name in ("4.22", "claim-sets") else 3)


@pytest.mark.rule("A9", "A3", "A4")
def test_marking_stops_at_a_page() -> None:
    """A gfn that has a page is not marked; a stranger marks nothing; a PV domain's extents have no effect."""
    host = SmallHost()
    who, stranger, pv = host.create(hvm=True), host.create(), host.create()
    host.populate(who, 514, 1)
    assert mark(host, who, 512, 5) == 2
    assert mark(host, who, 512, 1, 9) == 0
    request = PopulatePhysmap(who.domid, ((0, 3),), 0, MEMF_POPULATE_ON_DEMAND)
    assert host.ret(request, stranger) == 0
    assert mark(host, pv, 0, 4) == 4
    assert figures(host, pv) == (0, 0, 0)
    assert mark(host, who, 1 << 36, 1) == 0


@pytest.mark.rule("A29", "C26", "A12")
@EVERYWHERE
def test_the_cache_is_part_of_tot_pages(name: str) -> None:
    """set_pod_target allocates the cache into the domain: tot_pages and the claim move as for a populate."""
    host = SmallHost(name)
    who = host.create(hvm=True)
    mark(host, who, START, 2, 9)
    assert host.claim(who, 700) == 0
    free = host.free
    assert target(host, who, 600) == (0, PodTarget(who.domid, 600, 600, 1024))
    assert (host.free, host.outstanding) == (free - 600, 100)
    assert len(host.domain(who.domid).pod.supers) == 1, "2 MiB first, then single pages"


@pytest.mark.rule("A29", "A30")
def test_a_gfn_that_is_mapped_and_marked_is_found() -> None:
    """An entry beside a page of any size, and a wrong entry_count, are breaks."""
    host = SmallHost()
    who = host.create(hvm=True)
    host.populate(who, START, 512, 9)
    host.populate(who, 2 * START, 1)
    pod = host.domain(who.domid).pod
    for gfn, order in ((START + 7, 9), (2 * START, 0)):
        pod.mark(gfn, 0)
        (broken,) = host.breaks()
        assert broken.detail.endswith(f"gfn {gfn >> order << order}, order {order}, is mapped and marked")
        pod.clear(gfn, 0)
    pod.entries += 1
    assert [one.detail for one in host.breaks()] == [f"domain {who.domid}: entry_count 1, 0 gfns are marked"]


@pytest.mark.rule("A29")
def test_when_a_target_does_nothing() -> None:
    """Nothing happens below tot_pages, or once pages are in place and no entries are left."""
    host = SmallHost()
    who = host.create(hvm=True)
    host.populate(who, 0, 10)
    assert target(host, who, 100)[1] == PodTarget(who.domid, 10, 0, 0)
    mark(host, who, START, 20)
    assert target(host, who, 5)[1] == PodTarget(who.domid, 10, 0, 20)
    assert target(host, who, 25)[1] == PodTarget(who.domid, 25, 15, 20)
    assert target(host, who, 12)[1] == PodTarget(who.domid, 25, 15, 20)
    assert target(host, who, 100)[1] == PodTarget(who.domid, 30, 20, 20), "capped at the entries"


@pytest.mark.rule("A29", "A12", "A15")
@EVERYWHERE
def test_a_target_that_cannot_be_met_keeps_what_it_got(name: str) -> None:
    """At max_pages, or with the heap empty, set_pod_target answers ENOMEM with a partial cache."""
    host = SmallHost(name)
    who = host.create(hvm=True, max_pages=30)
    mark(host, who, START, 1, 9)
    assert target(host, who, 200) == (-Errno.ENOMEM, PodTarget(who.domid, 30, 30, 512))
    assert host.ret(MaxMem(who.domid, 4000)) == 0
    host.leave_free(7)
    assert target(host, who, 200) == (-Errno.ENOMEM, PodTarget(who.domid, 37, 37, 512))


@pytest.mark.rule("A29", "P3")
def test_a_cut_that_is_worked_out_anew_is_a_step_of_its_own() -> None:
    """tot_pages and the cache change in steps that declare them, whatever others do between the turns."""
    host = SmallHost()
    who = host.create(hvm=True)
    mark(host, who, START, 6)
    target(host, who, 4)
    assert host.ret(DecreaseReservation(who.domid, ((START, 1),)), who) == 1
    host.populate(who, START + 1, 2)
    assert figures(host, who) == (6, 4, 3)
    operation = host.submit(SetPodTarget(who.domid, 6))  # wants a cache of 3: one page has to go
    host.step_until(operation, "merge")
    host.populate(who, START + 3, 1)  # now it should be 2
    seen: list[tuple[str, Pages, Pages]] = []
    while (declared := operation.pending) is not None:
        before = figures(host, who)
        host.step(operation)
        seen.append((declared.name, *figures(host, who)[:2]))
        if figures(host, who) != before:
            this = {domain_resource(who.domid), p2m_resource(who.domid)}
            assert this <= declared.writes, declared
    assert seen == [
        ("merge", 6, 3),
        ("set_pod_target", 5, 2),
        ("merge", 5, 2),
        ("set_pod_target", 5, 2),
    ]
    assert host.breaks() == ()


@pytest.mark.rule("A29", "A12")
def test_what_is_read_after_a_refused_page_is_declared() -> None:
    """The step that gives a refused page back also reads the figures that are answered."""
    host = SmallHost()
    who = host.create(hvm=True, max_pages=3)
    mark(host, who, START, 6)
    operation = host.submit(SetPodTarget(who.domid, 6))
    host.step_until(operation, "give back")
    assert operation.pending is not None
    assert {domain_resource(who.domid), p2m_resource(who.domid)} <= operation.pending.reads
    host.step(operation)
    assert operation.reply is not None
    assert operation.reply.value == PodTarget(who.domid, 3, 3, 6)


@pytest.mark.rule("A29")
def test_bad_pod_targets() -> None:
    """ESRCH for nobody, EPERM for a guest, EINVAL for a PV domain."""
    host = SmallHost()
    who, pv = host.create(hvm=True), host.create()
    for request in (SetPodTarget, GetPodTarget):
        more = (1,) if request is SetPodTarget else ()
        assert host.ret(request(77, *more)) == -Errno.ESRCH
        assert host.ret(request(who.domid, *more), who) == -Errno.EPERM
        assert host.ret(request(pv.domid, *more)) == -Errno.EINVAL


@pytest.mark.rule("A30")
@EVERYWHERE
def test_a_touch_moves_a_page(name: str) -> None:
    """A read or write of a marked gfn maps a page of the cache, 2 MiB where it can; tot_pages stays."""
    host = SmallHost(name)
    who = host.create(hvm=True)
    mark(host, who, START, 2, 9)
    assert target(host, who, 520)[0] == 0
    assert host.ret(ReadPage(START + 7), who) == 0
    assert figures(host, who) == (520, 8, 512)
    assert host.ret(WritePage(START + 512 + 3, 5), who) == 0, "no 2 MiB left: the entry is broken up"
    assert figures(host, who) == (520, 7, 511)
    assert host.ret(MapForeign(who.domid, ((START + 515, 1),))) == 0
    assert host.ret(MapForeign(who.domid, ((START + 600, 1),))) == 0, "a foreign map populates as well"
    assert figures(host, who) == (520, 6, 510)


@pytest.mark.rule("A30")
def test_an_empty_cache_is_filled_by_a_sweep() -> None:
    """With the cache empty, pages of zeros are taken back and marked anew; what was written stays."""
    host = SmallHost()
    who = host.create(hvm=True)
    mark(host, who, START, 30)
    target(host, who, 10)
    for gfn in range(START, START + 10):
        assert host.ret(WritePage(gfn, 9 if gfn % 2 else 0), who) == 0
    assert figures(host, who) == (10, 0, 20)
    assert host.ret(WritePage(START + 20, 4), who) == 0
    assert figures(host, who) == (10, 4, 24)
    physmap = host.domain(who.domid).p2m
    assert physmap is not None
    assert [host.host.contents.get(mfn) for _, mfn, _ in physmap.leaves()] == [9] * 5 + [4]


@pytest.mark.rule("A30")
@EVERYWHERE
def test_no_page_at_all_crashes_the_domain(name: str) -> None:
    """With the cache empty and nothing but pages in use, a touch crashes the domain."""
    host = SmallHost(name)
    who = host.create(hvm=True)
    mark(host, who, START, 30)
    target(host, who, 3)
    for gfn in range(START, START + 3):
        assert host.ret(WritePage(gfn, 9), who) == 0
    operation = host.submit(WritePage(START + 9, 9), who)
    while host.machine.is_runnable(operation):
        host.step(operation)
    assert host.domain(who.domid).is_shut_down
    assert operation.reply is None
    assert host.ret(ReadPage(START + 9, who.domid)) == -Errno.EFAULT


@pytest.mark.rule("A30", "A11")
@EVERYWHERE
def test_the_balloon_driver_reaches_its_target(name: str) -> None:
    """A guest that gives marked gfns back gives nothing; then entries and cache are equal, and it lives."""
    host = SmallHost(name)
    who = host.create(hvm=True)
    mark(host, who, START, 100)
    target(host, who, 40)
    free = host.free
    assert host.ret(DecreaseReservation(who.domid, ((START + 40, 60),)), who) == 60
    assert (figures(host, who), host.free) == ((40, 40, 40), free)
    for gfn in range(START, START + 40):
        assert host.ret(WritePage(gfn, 9), who) == 0
    assert figures(host, who) == (40, 0, 0)


@pytest.mark.rule("A30", "A11", "C26")
@EVERYWHERE
def test_a_page_given_back_goes_to_the_cache_first(name: str) -> None:
    """While entries exceed the cache a returned page joins it; a cache that exceeds the entries is cut."""
    host = SmallHost(name)
    who = host.create(hvm=True)
    mark(host, who, START, 20)
    target(host, who, 10)
    for gfn in range(START, START + 5):
        assert host.ret(WritePage(gfn, 9), who) == 0
    assert figures(host, who) == (10, 5, 15)
    assert host.ret(DecreaseReservation(who.domid, ((START, 1),)), who) == 1
    assert figures(host, who) == (10, 6, 15)
    assert host.claim(who, 30) == 0
    free = host.free
    assert host.ret(DecreaseReservation(who.domid, ((START + 10, 10),)), who) == 10
    assert (figures(host, who), host.free) == ((9, 5, 5), free + 1)
    assert host.outstanding == (21 if name in ("4.3", "4.12", "4.17") else 20)


@pytest.mark.rule("A30", "S2", "S5", "S8")
def test_marked_gfns_and_sharing() -> None:
    """nominate populates a marked gfn; for add_physmap it is no hole; a populate replaces it."""
    host = SharingHost()
    one, two = host.sharer(1), host.sharer(1)
    mark(host, two, START, 10)
    target(host, two, 6)
    host.nominate(two, START)
    assert (figures(host, two), host.shr_pages(two)) == ((5, 4, 9), [1])
    assert host.plug(one, 0, two, START + 1) == C_HANDLE_INVALID
    assert host.populate(two, START + 1, 1) == 1
    assert figures(host, two) == (6, 4, 8)


@pytest.mark.rule("A29", "C30")
@EVERYWHERE
def test_a_dying_domain_gives_its_cache_back(name: str) -> None:
    """Destruction frees the cache with the other pages, also in the middle of a set_pod_target."""
    host = SmallHost(name)
    free = host.free
    who = host.create(hvm=True)
    mark(host, who, START, 1, 9)
    operation = host.submit(SetPodTarget(who.domid, 512))
    host.step_until(operation, "assign")
    kill = host.submit(DestroyDomain(who.domid))
    host.step(kill)
    while operation.reply is None:
        host.step(operation)
    assert operation.reply.ret == -Errno.ENOMEM
    while kill.reply is None:
        host.step(kill)
    while host.host.find(who.domid) is not None:
        host.ret(DestroyDomain(who.domid))
    assert host.free == free
