"""XENMEM_claim_pages: what is refused, in which order, and what a claim does to later allocations."""

from __future__ import annotations

import pytest

from hypervisor.core.steps import Caller
from hypervisor.public.domctl import DestroyDomain, MaxMem, PauseDomain, SetPagingMempoolSize, UnpauseDomain
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, CurrentReservation, DecreaseReservation
from hypervisor.public.units import DOMID_IDLE, DOMID_SELF, DOMID_XEN, PAGE_SIZE
from tests.core.small_host import EVERY_RELEASE, FROM_4_22, SmallHost, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)


@every_release
@pytest.mark.rule("V1", "C15", "C16", "C30")
def test_a_claim_shrinks_by_what_is_populated_and_dies_with_its_domain(name: str) -> None:
    """V1: claim 1024, populate one order-9 extent: 512 remain; destroy: none."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.claim(guest, 1024) == 0
    assert bench.outstanding == 1024
    assert bench.populate(guest, 0, 512, order=9) == 1
    assert bench.outstanding == bench.domain(guest.domid).outstanding_pages == 512
    assert bench.ret(DestroyDomain(guest.domid)) in (0, -Errno.EAGAIN)
    assert bench.outstanding == 0


def v2_host(name: str) -> tuple[SmallHost, Caller]:
    """tot 100, max 1000, free 900, no claims."""
    bench = SmallHost(name)
    guest = bench.create(max_pages=1000)
    assert bench.grow(guest, 100) == 100
    bench.leave_free(900)
    return bench, guest


@every_release
@pytest.mark.rule("V2", "C13", "C14", "C15")
@pytest.mark.parametrize(("total", "answer"), [(1000, 0), (1001, -Errno.EINVAL), (100, -Errno.EINVAL)])
def test_a_claim_is_a_total_between_tot_pages_and_max_pages(name: str, total: int, answer: int) -> None:
    """V2: all that is free can be claimed, nothing above max_pages, nothing that is there already."""
    bench, guest = v2_host(name)
    assert bench.claim(guest, total) == answer
    assert bench.outstanding == (900 if answer == 0 else 0)


@every_release
@pytest.mark.rule("V3", "C11", "C12")
def test_a_standing_claim_is_cancelled_before_another_is_made(name: str) -> None:
    """V3: a second claim is EINVAL, also an equal one; after claim 0 it passes."""
    bench, guest = v2_host(name)
    assert bench.claim(guest, 1000) == 0
    assert bench.claim(guest, 1000) == -Errno.EINVAL
    assert bench.claim(guest, 0) == 0
    assert bench.outstanding == 0
    assert bench.claim(guest, 0) == 0  # C11: also without a claim
    assert bench.claim(guest, 1000) == 0


@every_release
@pytest.mark.rule("C12")
def test_a_claim_used_up_is_none(name: str) -> None:
    """A fully consumed claim counts as none, so a larger one is legal."""
    bench, guest = v2_host(name)
    assert bench.claim(guest, 110) == 0
    assert bench.grow(guest, 10) == 10
    assert bench.outstanding == 0
    assert bench.claim(guest, 200) == 0
    assert bench.outstanding == 90


@every_release
@pytest.mark.rule("C14", "C15")
def test_a_claim_of_one_page_too_many_is_enomem(name: str) -> None:
    """Equality with free - claims succeeds, one page more is ENOMEM."""
    bench = SmallHost(name)
    first, second = bench.create(), bench.create()
    bench.leave_free(50)
    assert bench.claim(first, 20) == 0
    assert bench.claim(second, 31) == -Errno.ENOMEM
    assert bench.claim(second, 30) == 0
    assert bench.unclaimed == 0


@every_release
@pytest.mark.rule("V4", "C17")
def test_claimed_pages_are_only_for_the_claimant(name: str) -> None:
    """V4: others get what is unclaimed, the claimant what one request can take from its claim."""
    bench = SmallHost(name)
    a, b = bench.create(), bench.create()
    bench.leave_free(10)
    assert bench.claim(a, 6) == 0
    assert bench.grow(b, 4, order=2) == 1
    assert bench.free == 6
    assert bench.grow(b, 1) == 0
    assert bench.grow(a, 4, order=2) == 1
    assert (bench.free, bench.outstanding) == (2, 2)
    assert bench.grow(a, 4, order=2) == 0
    assert bench.grow(a, 2, order=1) == 1
    assert (bench.free, bench.outstanding) == (0, 0)


@every_release
@pytest.mark.rule("V5", "C17", "C24", "C29", "N5")
def test_a_claim_smaller_than_the_request_helps_nothing(name: str) -> None:
    """V5: with free 10 and claim 2 an order-2 extent passes as unclaimed; with free 5 it is refused, but not
    under claim sets.
    """
    bench = SmallHost(name)
    a = bench.create()
    bench.leave_free(10)
    assert bench.claim(a, 2) == 0
    assert bench.grow(a, 4, order=2) == 1
    assert bench.outstanding == 0  # C24: it bottoms at 0, the rest is ordinary

    tight = SmallHost(name)
    a = tight.create()
    tight.leave_free(5)
    assert tight.claim(a, 2) == 0
    if name == "claim-sets":  # N5: 3 unclaimed pages and the claim cover it together
        assert tight.grow(a, 4, order=2) == 1
        assert (tight.free, tight.outstanding) == (1, 0)
        return
    assert tight.grow(a, 4, order=2) == 0
    assert (tight.free, tight.outstanding) == (5, 2)
    assert tight.grow(a, 4) == 4  # page by page it fits


@pytest.mark.parametrize(("name", "claim"), [("4.3", 7), ("4.12", 7), ("4.17", 7), ("4.21", 5), ("4.22", 5)])
@pytest.mark.rule("V6", "C21", "C22", "C26")
def test_freeing_raises_a_standing_claim_up_to_4_20(name: str, claim: int) -> None:
    """V6: tot 5, claim 5, two pages freed: the claim is 7 up to 4.20 and stays 5 from 4.21."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.grow(guest, 5) == 5
    assert bench.claim(guest, 10) == 0
    free = bench.free
    assert bench.ret(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)[:2]))) == 2
    assert bench.domain(guest.domid).tot_pages == 3
    assert bench.free == free + 2
    assert bench.outstanding == bench.domain(guest.domid).outstanding_pages == claim


@every_release
@pytest.mark.rule("C21")
def test_a_claim_at_zero_is_not_revived_by_a_free(name: str) -> None:
    """Once a claim hit 0, giving pages back raises nothing."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.claim(guest, 5) == 0
    assert bench.grow(guest, 5) == 5
    assert bench.ret(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)[:2]))) == 2
    assert bench.outstanding == 0


@every_release
@pytest.mark.rule("C17", "C24", "C25")
def test_max_pages_holds_under_a_claim(name: str) -> None:
    """A claim carries nobody past max_pages, also when max_pages falls after the claim."""
    bench = SmallHost(name)
    guest = bench.create(max_pages=20)
    assert bench.claim(guest, 20) == 0
    assert bench.ret(MaxMem(guest.domid, 8 * 4)) == 0
    assert bench.grow(guest, 20) == 8
    assert bench.domain(guest.domid).tot_pages == 8


@every_release
@pytest.mark.parametrize("domid", [0x1234, DOMID_SELF, DOMID_XEN, DOMID_IDLE])
@pytest.mark.rule("C7")
def test_a_claim_needs_a_real_domid(name: str, domid: int) -> None:
    """Unknown and special domids, DOMID_SELF too, are EINVAL."""
    assert SmallHost(name).ret(ClaimPages(domid, 10)) == -Errno.EINVAL


@every_release
@pytest.mark.rule("C4", "C5", "C6", "C8", "C10")
def test_fields_are_checked_before_the_domain_and_the_domain_before_the_privilege(name: str) -> None:
    """A bad field is EINVAL for anyone, an unknown domid EINVAL also for a guest, then comes EPERM."""
    bench = SmallHost(name)
    guest = bench.create()
    for bad in (
        ClaimPages(guest.domid, 10, extent_order=1),
        ClaimPages(guest.domid, 10, mem_flags=1),
        ClaimPages(guest.domid, 10, extent_start=0x1000),
        ClaimPages(77, 10),
    ):
        assert bench.ret(bad) == -Errno.EINVAL
        assert bench.ret(bad, guest) == -Errno.EINVAL
    assert bench.ret(ClaimPages(guest.domid, 10), guest) == -Errno.EPERM
    assert bench.ret(ClaimPages(guest.domid, 0), guest) == -Errno.EPERM
    assert bench.ret(ClaimPages(guest.domid, 10)) == 0


@every_release
@pytest.mark.rule("C2")
def test_only_4_3_overlooks_start_extent(name: str) -> None:
    """start_extent bits are EINVAL, except in 4.3, which does not look at them."""
    bench = SmallHost(name)
    guest = bench.create()
    expected = 0 if name == "4.3" else -Errno.EINVAL
    assert bench.ret(ClaimPages(guest.domid, 10, start_extent=1)) == expected


@every_release
@pytest.mark.rule("C1")
def test_only_4_22_refuses_claims_under_cache_colouring(name: str) -> None:
    """With LLC colouring 4.22 answers EOPNOTSUPP before anything else is looked at."""
    bench = SmallHost(name, llc_coloring=True)
    guest = bench.create()
    expected = -Errno.EOPNOTSUPP if name in FROM_4_22 else 0
    assert bench.ret(ClaimPages(guest.domid, 10)) == expected
    assert bench.ret(ClaimPages(guest.domid, 10, mem_flags=1)) in (-Errno.EOPNOTSUPP, -Errno.EINVAL)


@every_release
@pytest.mark.rule("C13", "A15")
def test_a_new_domain_cannot_claim_before_max_mem(name: str) -> None:
    """max_pages is 0 after createdomain, so any claim is EINVAL until max_mem is called."""
    bench = SmallHost(name)
    guest = bench.create(max_pages=0)
    assert bench.claim(guest, 1) == -Errno.EINVAL
    assert bench.ret(MaxMem(guest.domid, 4)) == 0
    assert bench.claim(guest, 1) == 0


@every_release
@pytest.mark.rule("C32")
def test_neither_pause_nor_unpause_releases_a_claim(name: str) -> None:
    """A claim outlives pause and unpause, and a max_mem below it."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.claim(guest, 10) == 0
    assert bench.ret(PauseDomain(guest.domid)) == 0
    assert bench.ret(UnpauseDomain(guest.domid)) == 0
    assert bench.ret(MaxMem(guest.domid, 4)) == 0
    assert bench.outstanding == 10


@every_release
@pytest.mark.rule("C23", "A12", "h30")
def test_a_refused_assign_eats_the_claim_in_4_22_only(name: str) -> None:
    """At max_pages a refused extent leaves the claim consumed by 4.22, once per call, and whole before."""
    bench = SmallHost(name)
    guest = bench.create(max_pages=20)
    assert bench.claim(guest, 20) == 0
    assert bench.ret(MaxMem(guest.domid, 0)) == 0
    free = bench.free
    assert bench.grow(guest, 8, order=2) == 0
    assert bench.free == free
    assert bench.outstanding == (16 if name in FROM_4_22 else 20)
    assert bench.grow(guest, 8, order=3) == 0
    assert bench.outstanding == (8 if name in FROM_4_22 else 20)


@every_release
@pytest.mark.rule("C17", "C18", "C23")
def test_a_refusal_before_assign_eats_no_claim(name: str) -> None:
    """Neither the claim check nor a lack of contiguous pages draws a claim down, in any release."""
    bench = SmallHost(name)
    guest, other = bench.create(), bench.create()
    bench.leave_free(10)
    assert bench.claim(guest, 8) == 0
    assert bench.grow(other, 4, order=2) == 0  # 8 + 4 > 10
    assert bench.grow(guest, 8, order=3) in (0, 1)
    standing = bench.outstanding
    assert bench.grow(guest, 512, order=9) == 0
    assert bench.outstanding == standing


@every_release
@pytest.mark.rule("C17", "C20", "A31")
def test_a_paging_pool_never_leans_on_its_domains_claim(name: str) -> None:
    """Pool pages stand outside tot_pages: with all memory claimed the claimant's own pool cannot grow."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True, hap=True)
    free = bench.free
    assert bench.claim(guest, free) == 0
    assert bench.unclaimed == 0
    assert bench.ret(SetPagingMempoolSize(guest.domid, 260 * PAGE_SIZE)) == -Errno.ENOMEM
    assert bench.ret(CurrentReservation(guest.domid)) == 0
    assert bench.claim(guest, 0) == 0
    assert bench.claim(guest, free - 3) == 0
    assert bench.ret(SetPagingMempoolSize(guest.domid, 260 * PAGE_SIZE)) == -Errno.ENOMEM
    assert len(bench.domain(guest.domid).paging_pool) == 259  # it keeps what it got
    assert bench.outstanding == free - 3
