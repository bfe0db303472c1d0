"""populate, increase and decrease: what they check, what they count, what they leave behind."""

from __future__ import annotations

import pytest

from hypervisor.core.steps import Caller
from hypervisor.public.domctl import Frames, MapForeign, MaxMem, UnmapForeign
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    CurrentReservation,
    DecreaseReservation,
    IncreaseReservation,
    MaximumGpfn,
    MaximumRamPage,
    MaximumReservation,
    PopulatePhysmap,
)
from hypervisor.public.units import DOMID_SELF, MAX_NR_EXTENTS, UINT_MAX
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)


@every_release
@pytest.mark.rule("A3", "A8")
def test_populate_answers_how_many_extents_are_done(name: str) -> None:
    """Lack of memory is a short count, and what is done stays done."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    bench.leave_free(7)
    assert bench.populate(guest, 0, 10) == 7
    assert bench.domain(guest.domid).tot_pages == 7
    assert bench.populate(guest, 7, 3) == 0


@every_release
@pytest.mark.rule("A2", "A3")
def test_failed_pre_checks_answer_start_extent(name: str) -> None:
    """Too many extents, nothing left to do, an unknown domain and a useless width all answer start_extent."""
    bench = SmallHost(name)
    guest = bench.create()
    for request in (
        IncreaseReservation(guest.domid, MAX_NR_EXTENTS + 1, start_extent=3),
        IncreaseReservation(guest.domid, 3, start_extent=3),
        IncreaseReservation(0x1234, 5, start_extent=3),
        IncreaseReservation(guest.domid, 5, mem_flags=12, start_extent=3),
        PopulatePhysmap(guest.domid, ((0, 5),), mem_flags=12, start_extent=3),
        DecreaseReservation(0x1234, ((0, 5),), start_extent=3),
    ):
        assert bench.ret(request) == 3
    assert bench.domain(guest.domid).tot_pages == 0


@every_release
@pytest.mark.rule("A2")
def test_start_extent_counts_extents_done_before(name: str) -> None:
    """A call that resumes at extent 3 of 5 does two and answers 5."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.ret(PopulatePhysmap(guest.domid, ((10, 2), (20, 3)), start_extent=3)) == 5
    assert bench.domain(guest.domid).tot_pages == 2
    physmap = bench.domain(guest.domid).p2m
    assert physmap is not None
    assert [gfn for gfn, _, _ in physmap.leaves()] == [21, 22]


@every_release
@pytest.mark.rule("A1", "A19")
def test_an_address_width_is_obeyed(name: str) -> None:
    """With 22 bits every frame lies under 4 MiB."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.ret(IncreaseReservation(guest.domid, 20, mem_flags=22)) == 20
    assert max(bench.frames_of(guest)) < 1024


@every_release
@pytest.mark.rule("A4")
def test_a_stranger_is_refused_as_the_release_refuses(name: str) -> None:
    """Another guest's memory op on a domain is EPERM in 4.3 and 0 extents later."""
    bench = SmallHost(name)
    owner, stranger = bench.create(), bench.create()
    assert bench.grow(owner, 3) == 3
    expected = -Errno.EPERM if name == "4.3" else 0
    for request in (
        IncreaseReservation(owner.domid, 1),
        PopulatePhysmap(owner.domid, ((0, 1),)),
        DecreaseReservation(owner.domid, singles(bench.frames_of(owner))),
    ):
        assert bench.ret(request, stranger) == expected
    assert bench.ret(IncreaseReservation(owner.domid, 1), owner) == 1
    assert bench.ret(IncreaseReservation(DOMID_SELF, 1), owner) == 1
    assert bench.domain(owner.domid).tot_pages == 5


@every_release
@pytest.mark.rule("A5")
def test_extents_are_limited_by_the_caller(name: str) -> None:
    """A guest may ask for order 9 and no more, the control domain for order 18 and no more."""
    bench = SmallHost(name, pages=1 << 12)
    guest = bench.create()
    assert bench.ret(IncreaseReservation(guest.domid, 1, 9), guest) == 1
    assert bench.ret(IncreaseReservation(guest.domid, 1, 10), guest) == 0
    assert bench.ret(IncreaseReservation(guest.domid, 1, 10)) == 1
    assert bench.ret(IncreaseReservation(guest.domid, 1, 19)) == 0
    assert bench.ret(IncreaseReservation(guest.domid, 1, 0xFFFF_FFFF)) == 0


@every_release
@pytest.mark.rule("A6", "P1")
def test_others_move_between_two_extents(name: str) -> None:
    """A populate yields at every extent, and another caller's populate gets memory in between."""
    bench = SmallHost(name)
    slow, quick = bench.create(), bench.create()
    bench.leave_free(20)
    running = bench.submit(IncreaseReservation(slow.domid, 20))
    for _ in range(10):
        bench.step(running)
    assert bench.grow(quick, 5) == 5
    assert bench.finish(running).ret == 15


@every_release
@pytest.mark.rule("A11")
def test_increase_names_the_frames_and_maps_none(name: str) -> None:
    """increase_reservation answers mfns; an HVM domain gets no mapping by it."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    value = bench.call(IncreaseReservation(guest.domid, 3)).value
    assert isinstance(value, Frames)
    assert sorted(mfn for first, count in value.extents for mfn in range(first, first + count)) == (
        bench.frames_of(guest)
    )
    physmap = bench.domain(guest.domid).p2m
    assert physmap is not None
    assert physmap.entries == 0


@every_release
@pytest.mark.rule("A11")
def test_decrease_stops_at_a_hole(name: str) -> None:
    """The count ends at the hole; an extent that meets it half-way is not counted but its pages are gone."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.populate(guest, 0, 6) == 6
    assert bench.ret(DecreaseReservation(guest.domid, ((5, 1),))) == 1
    assert bench.ret(DecreaseReservation(guest.domid, ((0, 2), (5, 1), (2, 1)))) == 2
    assert bench.ret(DecreaseReservation(guest.domid, ((2, 2),), extent_order=1)) == 1
    assert bench.ret(DecreaseReservation(guest.domid, ((4, 1),), extent_order=1)) == 0
    assert bench.domain(guest.domid).tot_pages == 0


@every_release
@pytest.mark.rule("A11")
def test_a_domain_gives_back_only_its_own_pages(name: str) -> None:
    """A PV domain that names another's frame, a free frame or a frame twice gets no further."""
    bench = SmallHost(name)
    guest, other = bench.create(), bench.create()
    assert (bench.grow(guest, 3), bench.grow(other, 3)) == (3, 3)
    mine, theirs = bench.frames_of(guest), bench.frames_of(other)
    assert bench.ret(DecreaseReservation(DOMID_SELF, singles(theirs)), guest) == 0
    assert bench.ret(DecreaseReservation(DOMID_SELF, singles([0])), guest) == 0
    assert bench.ret(DecreaseReservation(DOMID_SELF, singles([mine[0], mine[0]])), guest) == 1
    assert bench.frames_of(guest) == mine[1:]
    assert bench.frames_of(other) == theirs


@every_release
@pytest.mark.parametrize("hvm", [False, True])
@pytest.mark.rule("A11", "A13")
def test_a_foreign_mapping_keeps_a_page_that_was_given_up(name: str, hvm: bool) -> None:
    """The page counts in tot_pages until its last mapping goes; only then it is free."""
    bench = SmallHost(name)
    guest = bench.create(hvm=hvm)
    assert bench.populate(guest, 0, 2) == 2
    named = ((0, 1),) if hvm else singles(bench.frames_of(guest)[:1])
    first = bench.call(MapForeign(guest.domid, named)).value
    bench.call(MapForeign(guest.domid, named))
    assert isinstance(first, Frames)
    free = bench.free
    assert bench.ret(DecreaseReservation(guest.domid, named)) == 1
    assert (bench.free, bench.domain(guest.domid).tot_pages) == (free, 2)
    assert bench.ret(MapForeign(guest.domid, named)) == -Errno.EINVAL  # no longer the domain's to name
    assert bench.ret(UnmapForeign(guest.domid, first.extents)) == 0
    assert bench.free == free
    assert bench.ret(UnmapForeign(guest.domid, first.extents)) == 0
    assert (bench.free, bench.domain(guest.domid).tot_pages) == (free + 1, 1)
    assert bench.ret(UnmapForeign(guest.domid, first.extents)) == -Errno.EINVAL


@every_release
@pytest.mark.rule("A13")
def test_mapping_takes_all_references_or_none(name: str) -> None:
    """One frame that is not the domain's, and none is mapped; a guest may not map at all."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.populate(guest, 0, 3) == 3
    assert bench.ret(MapForeign(guest.domid, ((0, 4),))) == -Errno.EINVAL
    assert not bench.host.frames.any_references
    assert bench.ret(MapForeign(guest.domid, ((0, 3),)), guest) == -Errno.EPERM
    assert bench.ret(MapForeign(0x1234, ((0, 1),))) == -Errno.ESRCH


@pytest.mark.parametrize(("name", "top"), [("4.3", 3), ("4.12", UINT_MAX), ("4.22", UINT_MAX)])
@pytest.mark.rule("A15")
def test_max_mem_beyond_32_bits(name: str, top: int) -> None:
    """4.3 truncates max_pages to 32 bits, later releases saturate."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.ret(MaxMem(guest.domid, ((1 << 32) + 3) * 4)) == 0
    assert bench.domain(guest.domid).max_pages == top


@every_release
@pytest.mark.rule("A15", "I4")
def test_max_mem_may_go_below_tot_pages_and_then_nothing_grows(name: str) -> None:
    """max_mem is never refused and takes nothing away, but above it no extent passes."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.grow(guest, 10) == 10
    assert bench.ret(MaxMem(guest.domid, 5 * 4 + 3)) == 0  # rounded down to pages
    assert bench.domain(guest.domid).max_pages == 5
    assert bench.domain(guest.domid).tot_pages == 10
    assert bench.ret(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)[:5]))) == 5
    assert bench.grow(guest, 1) == 0
    assert bench.ret(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)[:1]))) == 1
    assert bench.grow(guest, 2) == 1


@every_release
@pytest.mark.rule("A15", "A16")
def test_reservation_queries(name: str) -> None:
    """tot_pages, max_pages and the highest gfn for oneself or the control domain; ESRCH, EPERM otherwise."""
    bench = SmallHost(name)
    guest, stranger = bench.create(hvm=True, max_pages=30), bench.create()
    assert bench.populate(guest, 20, 4) == 4
    for caller, domid in ((Caller(0), guest.domid), (guest, guest.domid), (guest, DOMID_SELF)):
        assert bench.ret(CurrentReservation(domid), caller) == 4
        assert bench.ret(MaximumReservation(domid), caller) == 30
        assert bench.ret(MaximumGpfn(domid), caller) == 23
    assert bench.ret(CurrentReservation(guest.domid), stranger) == -Errno.EPERM
    assert bench.ret(CurrentReservation(0x1234)) == -Errno.ESRCH
    assert bench.ret(MaximumReservation(0x1234)) == -Errno.ESRCH
    assert bench.ret(MaximumReservation(0)) == UINT_MAX
    assert bench.ret(MaximumRamPage(), stranger) == bench.host.total_pages - 1


@every_release
@pytest.mark.rule("A8")
def test_a_gfn_beyond_what_the_page_tables_reach_stays_unmapped(name: str) -> None:
    """populate does not look whether the map step worked: the page is the domain's, but at no gfn."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.ret(PopulatePhysmap(guest.domid, ((0xFFFF_FFFF_FFFF_FFFF, 1),))) == 1
    assert bench.domain(guest.domid).tot_pages == 1
    assert bench.ret(MaximumGpfn(guest.domid)) == 0
