"""Page sharing: nominate, share, add_physmap, unshare, their counters and refusals (S1-S9, S13)."""

from __future__ import annotations

import pytest

from hypervisor.core.sources import Source
from hypervisor.core.steps import Caller
from hypervisor.public.access import ReadPage, SharingBroken, WritePage
from hypervisor.public.domctl import (
    DomainInfo,
    Frames,
    GetDomainInfo,
    MapForeign,
    MaxMem,
    PauseDomain,
    UnmapForeign,
    UnpauseDomain,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import MemoryExchange, PopulatePhysmap
from hypervisor.public.sharing import (
    C_HANDLE_INVALID,
    S_HANDLE_INVALID,
    MemSharingControl,
    SharedFrameInfo,
    SharingAddPhysmap,
    SharingAudit,
    SharingDebugGfn,
    SharingDebugMfn,
    SharingNominateGfn,
    SharingOther,
    SharingRangeShare,
    SharingShare,
)
from tests.core.sharing_host import CONTROL, SharingHost
from tests.core.small_host import EVERY_RELEASE

REGROWS = ("4.3", "4.12", "4.17")
EVERYWHERE = pytest.mark.parametrize("name", EVERY_RELEASE)


@pytest.mark.rule("S1")
@EVERYWHERE
def test_sharing_must_be_enabled(name: str) -> None:
    """Up to 4.12 sharing answers ENODEV until a domctl enables it; by 4.17 the first operation does."""
    host = SharingHost(name)
    who = host.create(hvm=True, hap=True)
    host.populate(who, 0, 1)
    on_the_fly = name not in ("4.3", "4.12")
    assert host.ret(SharingNominateGfn(who.domid, 0)) == (0 if on_the_fly else -Errno.ENODEV)
    assert host.ret(MemSharingControl(who.domid, True)) == 0
    assert host.ret(SharingNominateGfn(who.domid, 0)) == 0


@pytest.mark.rule("S1")
@EVERYWHERE
def test_who_may_not_share(name: str) -> None:
    """ENODEV without HAP, ESRCH for nobody, EPERM for a guest or oneself, ENOSYS for an unknown operation."""
    host = SharingHost(name)
    who, plain = host.sharer(2), host.create(hvm=True)
    assert host.ret(SharingNominateGfn(plain.domid, 0)) == -Errno.ENODEV
    assert host.ret(MemSharingControl(plain.domid, True)) == -Errno.ENODEV
    assert host.ret(MemSharingControl(77, True)) == -Errno.ESRCH
    assert host.ret(MemSharingControl(who.domid, True), who) == -Errno.EPERM
    assert host.ret(SharingNominateGfn(77, 0)) == -Errno.ESRCH
    assert host.ret(SharingNominateGfn(who.domid, 0), who) == -Errno.EPERM
    assert host.ret(SharingNominateGfn(0, 0)) == -Errno.EPERM
    assert host.ret(SharingOther(who.domid, 9)) == -Errno.ENOSYS
    ranged = host.ret(SharingRangeShare(who.domid, who.domid, 0, 0))
    assert ranged == (-Errno.ENOSYS if name == "4.3" else -Errno.EINVAL)  # before 4.8 / it runs


@pytest.mark.rule("S1", "S7")
def test_the_client_must_have_sharing_enabled() -> None:
    """share and add_physmap to a client whose sharing is off are EINVAL, by 4.17 as well."""
    host = SharingHost("4.17")
    one, other = host.sharer(1), host.create(hvm=True, hap=True)
    handle = host.nominate(one, 0)
    assert host.ret(SharingShare(one.domid, 0, handle, other.domid, 0, 1)) == -Errno.EINVAL
    assert host.ret(SharingAddPhysmap(one.domid, 0, handle, other.domid, 0)) == -Errno.EINVAL
    assert host.ret(SharingAddPhysmap(one.domid, 0, handle, 77, 0)) == -Errno.ESRCH


@pytest.mark.rule("S3", "S4", "S5", "S6", "C26")
@EVERYWHERE
def test_nominate_gives_the_page_to_dom_cow(name: str) -> None:
    """nominate takes a page out of tot_pages and frees nothing; up to 4.20 a claim grows by it."""
    host = SharingHost(name)
    who = host.sharer(3)
    assert host.claim(who, 10) == 0
    free = host.free
    handle = host.nominate(who, 1)
    assert host.nominate(who, 1) == handle, "S5: shared already, its handle is told"
    assert (host.tot_pages(who), host.shr_pages(who), host.counts) == ([2], [1], (1, 0))
    assert host.free == free
    assert host.outstanding == (8 if name in REGROWS else 7)
    assert host.read(who, 1) == 101


@pytest.mark.rule("S2", "S5")
def test_what_cannot_be_nominated() -> None:
    """A hole is EINVAL, a page that somebody else has mapped E2BIG."""
    host = SharingHost()
    who = host.sharer(2)
    assert host.ret(SharingNominateGfn(who.domid, 9)) == -Errno.EINVAL
    mapped = host.call(MapForeign(who.domid, ((0, 1),))).value
    assert isinstance(mapped, Frames)
    assert host.ret(SharingNominateGfn(who.domid, 0)) == -Errno.E2BIG
    assert host.ret(UnmapForeign(who.domid, mapped.extents)) == 0
    assert host.ret(SharingNominateGfn(who.domid, 0)) == 0


@pytest.mark.rule("S5")
@EVERYWHERE
def test_a_kill_between_look_and_nominate(name: str) -> None:
    """By 4.17 a domain killed in the middle of a nominate answers EBUSY; before, the two cannot meet."""
    host = SharingHost(name)
    who = host.sharer(1)
    operation = host.submit(SharingNominateGfn(who.domid, 0))
    host.step(operation)
    if name in ("4.3", "4.12"):
        assert operation.reply is not None and operation.reply.ret == 0
        return
    host.domain(who.domid).is_dying = type(host.domain(who.domid).is_dying).DYING
    assert host.finish(operation).ret == -Errno.EBUSY


@pytest.mark.rule("S4", "S6", "S7", "S13")
@EVERYWHERE
def test_share_frees_the_client_frame(name: str) -> None:
    """Sharing two pages frees one to the heap; shr_pages counts entries, not frames."""
    host = SharingHost(name)
    one, two = host.sharer(1), host.sharer(1)
    free = host.free
    assert host.share(one, two, 0) == 0
    assert host.free == free + 1
    assert (host.tot_pages(one, two), host.shr_pages(one, two), host.counts) == ([0, 0], [1, 1], (1, 1))
    info = host.call(GetDomainInfo(two.domid)).value
    assert isinstance(info, DomainInfo) and info.shr_pages == 1
    assert host.share(one, two, 0) == 0, "S7: the same frame already"
    assert host.ret(SharingAudit()) == 0
    assert host.ret(SharingDebugGfn(two.domid, 0)) == 2


@pytest.mark.rule("S7")
def test_stale_handles() -> None:
    """A handle that is not the page's is -10 for the source and -9 for the client; two holes are the same."""
    host = SharingHost()
    one, two = host.sharer(2), host.sharer(2)
    mine, theirs = host.nominate(one, 0), host.nominate(two, 0)
    a, b = one.domid, two.domid
    assert host.ret(SharingShare(a, 0, mine + 9, b, 0, theirs)) == S_HANDLE_INVALID
    assert host.ret(SharingShare(a, 0, mine, b, 0, theirs + 9)) == C_HANDLE_INVALID
    assert host.ret(SharingShare(a, 0, mine, b, 1, theirs)) == C_HANDLE_INVALID
    assert host.ret(SharingShare(a, 1, mine, b, 0, theirs)) == S_HANDLE_INVALID
    assert host.ret(SharingShare(a, 0, mine, b, 50, theirs)) == C_HANDLE_INVALID
    assert host.ret(SharingShare(a, 50, mine, b, 0, theirs)) == S_HANDLE_INVALID
    assert host.ret(SharingShare(a, 50, 0, b, 50, 0)) == 0
    assert host.ret(SharingShare(a, 0, mine, b, 0, theirs)) == 0
    assert host.ret(SharingDebugGfn(a, 1)) == -Errno.EINVAL


@pytest.mark.rule("S2", "S8")
@EVERYWHERE
def test_add_physmap_takes_no_page(name: str) -> None:
    """A hole becomes one more reference: no page moves, and shr_pages and nr_saved grow by one."""
    host = SharingHost(name)
    one, two = host.sharer(1), host.sharer(1)
    handle = host.nominate(one, 0)
    free, tot = host.free, host.tot_pages(one, two)
    assert host.plug(one, 0, two, 40) == 0
    assert (host.free, host.tot_pages(one, two)) == (free, tot)
    assert (host.shr_pages(one, two), host.counts) == ([1, 1], (1, 1))
    assert host.read(two, 40) == 100
    assert host.plug(one, 0, two, 0) == C_HANDLE_INVALID, "gfn 0 is no hole"
    assert host.ret(SharingAddPhysmap(one.domid, 0, handle + 1, two.domid, 41)) == S_HANDLE_INVALID
    assert host.ret(SharingAddPhysmap(one.domid, 7, handle, two.domid, 41)) == S_HANDLE_INVALID
    assert host.plug(one, 0, one, 60) == 0, "within one domain"
    assert host.ret(SharingDebugGfn(one.domid, 60)) == 3


@pytest.mark.rule("S9", "C26", "I8")
@EVERYWHERE
def test_a_copy_takes_one_page_by_the_rules(name: str) -> None:
    """The first writer gets a copy: one page from the heap, into tot_pages and out of his claim."""
    host = SharingHost(name)
    one, two = host.sharers()
    assert host.claim(two, 5) == 0
    free = host.free
    assert host.write(two, 0, 7) == SharingBroken(copied=True, stalls=0)
    assert (host.free, host.outstanding) == (free - 1, 4)
    assert (host.tot_pages(one, two), host.shr_pages(one, two), host.counts) == ([0, 1], [1, 0], (1, 0))
    assert (host.read(one, 0), host.read(two, 0)) == (100, 7)


@pytest.mark.rule("S9", "S11", "C28")
@EVERYWHERE
def test_the_last_sharer_keeps_the_frame(name: str) -> None:
    """The last reference becomes private past max_pages and with an empty heap; up to 4.21 a claim pays."""
    host = SharingHost(name)
    one, two = host.sharers()
    assert host.claim(one, 5) == 0
    host.write(two, 0, 7)
    assert host.ret(MaxMem(one.domid, 0)) == 0
    free = host.free
    assert host.write(one, 0, 8) == SharingBroken(copied=False, stalls=0)
    assert (host.free, host.tot_pages(one), host.counts) == (free, [1], (0, 0))
    assert host.outstanding == (5 if name in ("4.22", "claim-sets") else 4)
    assert ("I4", "last sharer") in host.seen
    assert (host.read(one, 0), host.read(two, 0)) == (8, 7)


@pytest.mark.rule("S9", "S11")
@EVERYWHERE
def test_no_page_for_the_copy(name: str) -> None:
    """Held at max_pages, or by somebody's claim, a copy fails whole: ENOMEM, all counters as before."""
    host = SharingHost(name)
    one, two = host.sharers(max_pages=8)
    figures = lambda: (host.tot_pages(one, two), host.shr_pages(one, two), host.counts, host.free)  # noqa: E731
    before = figures()
    assert host.ret(MaxMem(two.domid, 0)) == 0
    assert host.ret(WritePage(0, 9, two.domid)) == -Errno.ENOMEM
    assert figures() == before
    assert host.ret(MaxMem(two.domid, 400)) == 0
    claimer = host.create()
    assert host.claim(claimer, host.free) == 0
    before = figures()
    assert host.ret(WritePage(0, 9, two.domid)) == -Errno.ENOMEM
    assert figures() == before
    assert (host.read(one, 0), host.read(two, 0)) == (100, 100)


@pytest.mark.rule("S9", "P8")
def test_a_second_writer_waits_and_is_the_last() -> None:
    """With one page free two sharers write at once: one copies, the other waits and keeps the frame."""
    host = SharingHost()
    one, two = host.sharers()
    host.leave_free(1)
    first, second = host.submit(WritePage(0, 1), one), host.submit(WritePage(0, 2), two)
    host.step_until(first, "take")
    host.step(second)
    assert not host.machine.is_runnable(second), "the frame's lock is taken"
    host.go_on(first)
    assert host.go_on(second).value == SharingBroken(copied=False, stalls=0)
    assert (host.read(one, 0), host.read(two, 0), host.free) == (1, 2, 0)


@pytest.mark.rule("S7", "S9", "P8")
def test_a_share_in_the_middle_of_a_copy() -> None:
    """A frame shared away while it is copied leaves the writer with a copy of what then stands there."""
    host = SharingHost()
    one, two = host.sharers()
    three = host.sharer(1)
    handle, theirs = host.nominate(three, 0), host.nominate(one, 0)
    operation = host.submit(WritePage(0, 55), two)
    host.step_until(operation, "copy")
    assert host.ret(SharingShare(three.domid, 0, handle, one.domid, 0, theirs)) == 0
    host.go_on(operation)
    assert [host.read(who, 0) for who in (one, two, three)] == [100, 55, 100]
    assert host.counts == (1, 1)


@pytest.mark.rule("S9", "A11")
def test_giving_back_a_shared_page_needs_memory() -> None:
    """decrease_reservation makes a shared page private first: with nothing free it stops there."""
    host = SharingHost()
    one, two = host.sharers(2)
    filler = host.leave_free(1)
    assert host.give(two, 0) == 1, "copied, then given back"
    assert (host.free, host.counts, host.shr_pages(two)) == (1, (2, 1), [1])
    assert host.grow(filler, 1) == 1
    assert host.give(two, 1) == 0
    assert host.give(one, 0) == 1, "the last sharer needs none"
    assert host.free == 1


@pytest.mark.rule("S9", "A17")
def test_exchange_and_populate_of_a_shared_gfn() -> None:
    """A shared page is not exchanged (ENOMEM); a populate over it makes it private and takes its place."""
    host = SharingHost()
    one, two = host.sharers(2)
    exchange = MemoryExchange(two.domid, ((0, 1),), 0, two.domid, ((0, 1),), 0)
    assert host.ret(exchange, two) == -Errno.ENOMEM
    assert host.ret(PopulatePhysmap(two.domid, ((0, 1),)), two) == 1
    assert (host.read(one, 0), host.read(two, 0), host.tot_pages(two)) == (100, 0, [2])
    assert host.counts == (2, 1)


@pytest.mark.rule("S9")
def test_a_foreign_mapping_breaks_sharing() -> None:
    """Mapping a shared page of another domain takes a private copy of it (P2M_UNSHARE)."""
    host = SharingHost()
    one, two = host.sharers()
    assert host.ret(MapForeign(two.domid, ((0, 1),))) == 0
    assert (host.shr_pages(one, two), host.tot_pages(one, two)) == ([1, 0], [0, 1])


@pytest.mark.rule("S1", "S7")
def test_range_share_skips_what_it_cannot() -> None:
    """range_share shares two paused domains gfn by gfn and leaves holes out."""
    host = SharingHost("4.17")
    one, two = host.sharer(6), host.sharer(6)
    assert host.give(two, 3) == 1
    request = SharingRangeShare(one.domid, two.domid, 0, 5)
    assert host.ret(request) == -Errno.EINVAL, "they run"
    for who in (one, two):
        assert host.ret(PauseDomain(who.domid)) == 0
    assert host.ret(SharingRangeShare(one.domid, two.domid, 0, 99)) == -Errno.EINVAL
    assert host.ret(request) == 0
    for who in (one, two):
        assert host.ret(UnpauseDomain(who.domid)) == 0
    assert (host.shr_pages(one, two), host.counts) == ([6, 5], (6, 5))
    mfn = next(iter(host.host.sharing.frames))
    reply = host.call(SharingDebugMfn(one.domid, mfn))
    assert reply.ret == 2 and isinstance(reply.value, SharedFrameInfo)


@pytest.mark.rule("S9", "I8")
def test_bad_accesses() -> None:
    """An access to a hole is EFAULT, to another domain EPERM, to nobody ESRCH; a PV guest names mfns."""
    host = SharingHost()
    who, other = host.sharer(1), host.create()
    assert host.ret(ReadPage(9), who) == -Errno.EFAULT
    assert host.ret(WritePage(9, 1), who) == -Errno.EFAULT
    assert host.ret(WritePage(0, 1, who.domid), other) == -Errno.EPERM
    assert host.ret(ReadPage(0, 77)) == -Errno.ESRCH
    assert host.grow(other, 1) == 1
    (mfn,) = host.frames_of(other)
    assert host.write(other, mfn, 3) is None
    assert host.read(other, mfn) == 3
    assert host.ret(ReadPage(mfn + 1), other) == -Errno.EFAULT


@pytest.mark.rule("I8")
def test_freed_pages_hold_zeros() -> None:
    """Whoever gets a page next finds none of what its last owner wrote."""
    host = SharingHost()
    who = host.sharer(20)
    assert [host.give(who, gfn) for gfn in range(20)] == [1] * 20
    assert not host.host.contents
    heir = host.create(hvm=True)
    assert host.populate(heir, 0, host.free) > 20
    assert [host.read(heir, gfn) for gfn in range(20)] == [0] * 20


@pytest.mark.rule("C28", "S6")
@pytest.mark.parametrize("name", REGROWS)
def test_nominate_can_overdraw_claims(name: str) -> None:
    """With everything claimed, a nominate of the claiming domain leaves claims that nothing covers."""
    host = SharingHost(name)
    who = host.sharer(2)
    assert host.claim(who, host.tot_pages(who)[0] + host.free) == 0
    assert host.unclaimed == 0
    host.nominate(who, 0)
    assert host.unclaimed == -1
    assert ("I3", "nominated") in host.seen


def test_control_names_itself() -> None:
    """The tests' control domain is privileged, or none of the refusals above would mean anything."""
    assert CONTROL.privileged and not Caller(1).privileged


@pytest.mark.rule("S7", "S9", "P8")
@EVERYWHERE
def test_two_writers_of_one_gfn_and_a_share_between_them(name: str) -> None:
    """A writer whose gfn another vcpu made private under another frame's lock gives his copy back."""
    host = SharingHost(name)
    one, two = host.sharers()
    three, four = host.sharer(1), host.sharer(1)
    assert host.share(three, four, 0) == 0
    assert host.claim(two, 5) == 0
    handle, theirs = host.nominate(three, 0), host.nominate(one, 0)
    late = host.submit(WritePage(0, 7), two)
    host.step_until(late, "copy")
    assert host.ret(SharingShare(three.domid, 0, handle, one.domid, 0, theirs)) == 0
    free, growth = host.free, dict(host.host.growth)
    assert host.write(two, 0, 8) == SharingBroken(copied=True, stalls=0)
    assert host.free == free - 1
    assert host.go_on(late).value == SharingBroken(copied=False, stalls=0)
    assert not host.domain(two.domid).is_shut_down
    assert (host.free, host.tot_pages(two), host.host.in_flight_pages) == (free, [1], 0)
    assert host.host.growth[Source.UNSHARE] == growth.get(Source.UNSHARE, 0) + 1
    assert [host.read(who, 0) for who in (one, two, three)] == [100, 7, 100]
    assert host.counts == (1, 2)
