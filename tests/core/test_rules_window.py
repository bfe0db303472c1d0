"""The window between heap and assign (C27): who sees what in it, and what it lets happen."""

from __future__ import annotations

import pytest

from hypervisor.public.domctl import CreateDomain, MaxMem, PhysicalInfo, Physinfo
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, DecreaseReservation, IncreaseReservation
from tests.core.small_host import EVERY_RELEASE, FROM_4_22, WITH_WINDOW, SmallHost, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)
with_window = pytest.mark.parametrize("name", WITH_WINDOW)


def seen_unclaimed(bench: SmallHost) -> int:
    """free - outstanding as another caller reads it with one physinfo."""
    value = bench.call(Physinfo()).value
    assert isinstance(value, PhysicalInfo)
    return value.free_pages - value.outstanding_pages


@every_release
@pytest.mark.parametrize("order", [0, 9])
@pytest.mark.rule("C27", "P1", "P2", "C34")
def test_a_claimed_extent_is_counted_twice_between_take_and_assign(name: str, order: int) -> None:
    """Up to 4.21.0 another caller sees free - outstanding too small by exactly one extent, in 4.22 never."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.claim(guest, 2 << order) == 0
    steady = seen_unclaimed(bench)
    populate = bench.submit(IncreaseReservation(guest.domid, 2, order))
    seen = []
    while populate.reply is None:
        bench.step(populate)
        seen.append(steady - seen_unclaimed(bench))
    assert populate.reply.ret == 2
    extent = 0 if name in FROM_4_22 else 1 << order
    assert seen == [extent, 0, extent, 0]


@every_release
@pytest.mark.rule("C14", "C27", "race2")
def test_an_absurd_claim_passes_inside_the_window(name: str) -> None:
    """While one domain fills its claim on all memory, another's claim of 1,000,000 pages is admitted up to
    4.21.0, because the unsigned difference wraps, and never on 4.22.
    """
    bench = SmallHost(name)
    guest, other = bench.create(), bench.create()
    bench.leave_free(40)
    assert bench.claim(guest, 40) == 0
    populate = bench.submit(IncreaseReservation(guest.domid, 40))
    answers = []
    while populate.reply is None:
        bench.step(populate)
        answers.append(bench.ret(ClaimPages(other.domid, 1_000_000)))
        bench.ret(ClaimPages(other.domid, 0))
    if name in FROM_4_22:
        assert set(answers) == {-Errno.ENOMEM}
    else:
        assert answers == [0, -Errno.ENOMEM] * 40
    assert populate.reply.ret == 40


@with_window
@pytest.mark.rule("C27", "I3")
def test_an_absurd_claim_stays_when_the_window_closes(name: str) -> None:
    """A claim admitted by wrapping blocks every unclaimed request until it is cancelled: a permitted debt."""
    bench = SmallHost(name)
    guest, other = bench.create(), bench.create()
    bench.leave_free(40)
    assert bench.claim(guest, 40) == 0
    populate = bench.submit(IncreaseReservation(guest.domid, 1))
    bench.step(populate)
    assert bench.claim(other, 1_000_000) == 0
    bench.finish(populate)
    assert [(one.invariant, one.form) for one in bench.breaks()] == [("I3", "debt")]
    assert bench.ret(CreateDomain()) == -Errno.ENOMEM
    assert bench.grow(guest, 5) == 5  # C17 a: its claim covers the request, the host is not looked at
    assert bench.claim(other, 0) == 0
    assert bench.breaks() == ()


@every_release
@pytest.mark.rule("C27", "C17")
def test_others_fail_falsely_inside_the_window(name: str) -> None:
    """A request that unclaimed memory would satisfy is refused up to 4.21.0 while an extent is in flight."""
    bench = SmallHost(name)
    guest, other = bench.create(), bench.create()
    bench.leave_free(8)
    assert bench.claim(guest, 6) == 0
    populate = bench.submit(IncreaseReservation(guest.domid, 1, 2))
    bench.step(populate)
    assert bench.grow(other, 1) == (1 if name in FROM_4_22 else 0)
    bench.finish(populate)
    assert bench.grow(other, 1) == 1


@every_release
@pytest.mark.rule("C27", "C17", "P1", "I3", "I6")
def test_two_extents_in_flight_lean_on_one_claim(name: str) -> None:
    """Up to 4.21.0 two requests of one domain may both pass by the same claim and take another's pages."""
    bench = SmallHost(name)
    a, b = bench.create(), bench.create()
    bench.leave_free(8)
    assert bench.claim(a, 4) == 0
    assert bench.claim(b, 4) == 0
    first = bench.submit(IncreaseReservation(a.domid, 1, 2))
    second = bench.submit(IncreaseReservation(a.domid, 1, 2))
    bench.step(first)
    bench.step(second)
    assert (bench.finish(first).ret, bench.finish(second).ret) == ((1, 0) if name in FROM_4_22 else (1, 1))
    assert bench.domain(b.domid).outstanding_pages == 4
    assert bench.grow(b, 4, order=2) == (1 if name in FROM_4_22 else 0)


@every_release
@pytest.mark.rule("P3", "P4", "C21", "C22", "C27")
def test_pages_given_back_reach_the_heap_one_step_later(name: str) -> None:
    """tot_pages falls first, free rises later; the regrown claim of 4.3-4.20 is seen too big in between."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.grow(guest, 5) == 5
    assert bench.claim(guest, 10) == 0
    unclaimed, free = seen_unclaimed(bench), bench.free
    frame = bench.frames_of(guest)[0]
    decrease = bench.submit(DecreaseReservation(guest.domid, singles([frame])))
    bench.step(decrease)
    assert (bench.domain(guest.domid).tot_pages, bench.free) == (4, free)
    regrown = name in ("4.3", "4.12", "4.17")
    assert seen_unclaimed(bench) == unclaimed - regrown
    bench.step(decrease)
    assert bench.free == free + 1
    assert seen_unclaimed(bench) == unclaimed + (not regrown)


@every_release
@pytest.mark.rule("A12")
def test_a_domain_at_its_max_lends_itself_pages_for_a_moment(name: str) -> None:
    """An extent refused at max_pages leaves the pool and comes back, which another caller can fail by."""
    bench = SmallHost(name)
    capped, other = bench.create(max_pages=0), bench.create()
    bench.leave_free(4)
    refused = bench.submit(IncreaseReservation(capped.domid, 1, 2))
    bench.step(refused)
    assert bench.free == 0
    assert bench.grow(other, 1) == 0
    assert bench.finish(refused).ret == 0
    assert bench.free == 4
    assert bench.grow(other, 1) == 1


@every_release
@pytest.mark.rule("P5", "C15")
def test_of_two_claims_on_the_same_memory_exactly_one_wins(name: str) -> None:
    """A claim is one step, so whoever comes first has it all and the other is told at once."""
    for winner in (0, 1):
        bench = SmallHost(name)
        domains = (bench.create(), bench.create())
        bench.leave_free(30)
        claims = [bench.submit(ClaimPages(one.domid, 20)) for one in domains]
        bench.step(claims[winner])
        bench.step(claims[1 - winner])
        replies = [one.reply.ret for one in claims if one.reply is not None]
        assert replies[winner] == 0
        assert replies[1 - winner] == -Errno.ENOMEM


@every_release
@pytest.mark.rule("P1", "P2", "A6")
def test_looking_before_populating_leaves_both_short(name: str) -> None:
    """Two toolstacks that see enough and populate in turns both end short: the race the claim is for."""
    bench = SmallHost(name)
    domains = (bench.create(), bench.create())
    bench.leave_free(30)
    assert all(seen_unclaimed(bench) >= 20 for _ in domains)
    running = [bench.submit(IncreaseReservation(one.domid, 20)) for one in domains]
    while any(one.reply is None for one in running):
        for one in running:
            if one.reply is None:
                bench.step(one)
    assert sorted(one.reply.ret for one in running if one.reply) == [15, 15]


@every_release
@pytest.mark.rule("P5", "A15")
def test_a_sample_is_stale_by_the_time_it_clamps(name: str) -> None:
    """tot_pages sampled and then set as max_mem leaves a growing domain above its max, with no error."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.grow(guest, 10) == 10
    populate = bench.submit(IncreaseReservation(guest.domid, 10), guest)
    sample = bench.domain(guest.domid).tot_pages
    for _ in range(8):
        bench.step(populate)
    assert bench.ret(MaxMem(guest.domid, sample * 4)) == 0
    assert bench.finish(populate).ret == 4
    assert bench.domain(guest.domid).tot_pages == 14 > bench.domain(guest.domid).max_pages == 10
