"""squeezed's rules Q1 to Q7 on vectors computed by hand. No host, no clock: the policy is pure."""

from __future__ import annotations

from typing import Any

import pytest

from hypervisor.public.units import Pages
from toolstack.squeeze.activity import Activity
from toolstack.squeeze.host import SqueezedDomain, SqueezedHost, max_pages, maxmem
from toolstack.squeeze.iteration import turn
from toolstack.squeeze.policy import first_lower_then_raise, min_freeable, targets
from toolstack.squeeze.reservations import Reservations, UnknownReservationError

A, B, C = (1, 1), (2, 2), (3, 3)


def domain(key: tuple[int, int], low: Pages, high: Pages, actual: Pages, **more: Any) -> SqueezedDomain:
    """A booted domain at its target, unless told otherwise."""
    fields = {"target": actual, "booted": True, **more}
    return SqueezedDomain(key=key, dyn_min=low, dyn_max=high, actual=actual, **fields)


BIG, SMALL = domain(A, 1000, 3000, 3000), domain(B, 500, 1500, 1000)

# ---- Q1


@pytest.mark.rule("Q1")
def test_what_a_client_has_not_transferred_dies_when_it_logs_in_again() -> None:
    """The first of two clients logs in again: its own is gone, the other's and the transferred stay."""
    book = Reservations()
    book.login("one")
    moved, lost = book.reserve("one", 300), book.reserve("one", 500)
    kept = book.reserve("two", 70)
    book.transfer("one", moved, A)
    assert book.open_pages == 570
    book.login("one")
    assert (book.open_pages, book.of_domain(A)) == (70, 300)
    with pytest.raises(UnknownReservationError):
        book.transfer("one", lost, B)
    with pytest.raises(UnknownReservationError):
        book.delete("one", kept)
    book.delete("two", kept)
    book.forget(A)
    assert (book.open_pages, book.of_domain(A)) == (0, 0)


# ---- Q2


@pytest.mark.rule("Q2")
def test_host_free_counts_reservations_and_what_unbooted_domains_have_yet_to_take() -> None:
    """5000 - 700 reserved - (2000 - 600 - 100) half built = 3000; booted and overdrawn domains: 0."""
    building = domain(A, 0, 0, 600, booted=False, initial_reservation=2000, shadow=100)
    overdrawn = domain(B, 0, 0, 600, booted=False, initial_reservation=500)
    booted = domain(C, 0, 0, 600, initial_reservation=9000)
    assert SqueezedHost(5000, 700, (building, overdrawn, booted)).free == 3000


# ---- Q3


@pytest.mark.rule("Q3")
def test_five_seconds_without_progress_are_inactive_and_twenty_more_uncooperative() -> None:
    """Progress at 1 s, none after: inactive from 6 s on, uncooperative from 26 s on, active again at 27 s."""
    activity = Activity(5.0, 20.0, tolerance=128)
    told = []
    seen = [(0.0, 3000), (1.0, 2999), (5.9, 2999), (6.0, 2999), (25.9, 2999), (26.0, 2999), (27.0, 2998)]
    for now, actual in seen:
        activity.observe(A, actual, 2000, now)
        told.append((activity.is_active(A), activity.is_uncooperative(A, now)))
    assert told == [(True, False)] * 3 + [(False, False)] * 2 + [(False, True), (True, False)]


@pytest.mark.rule("Q3")
def test_a_domain_at_its_target_or_given_a_new_one_is_active() -> None:
    """128 pages off (512 KiB) is at it, 129 is not; a new target starts the 5 s anew."""
    activity = Activity(5.0, 20.0, tolerance=128)
    for key, actual in ((A, 2128), (B, 2129)):
        for now in (0.0, 10.0):
            activity.observe(key, actual, 2000, now)
    assert (activity.is_active(A), activity.is_active(B)) == (True, False)
    activity.observe(B, 2129, 1900, 11.0)
    assert activity.is_active(B)


@pytest.mark.rule("Q3")
def test_the_holes_are_kept() -> None:
    """One page each 4.9 s is active for ever; 19 s of rest and one of work are never uncooperative."""
    crawling, dozing = Activity(5.0, 20.0, 128), Activity(5.0, 20.0, 128)
    now, seen = 0.0, 9000
    for _ in range(50):
        crawling.observe(A, seen, 2000, now)
        assert crawling.is_active(A)
        now, seen = now + 4.9, seen - 1
    now, seen = 0.0, 9000
    for _ in range(20):
        for _second in range(19):
            dozing.observe(A, seen, 2000, now)
            assert not dozing.is_uncooperative(A, now)
            now += 1.0
        seen, now = seen - 1, now + 1.0
        dozing.observe(A, seen, 2000, now)


# ---- Q4


@pytest.mark.rule("Q4")
def test_targets_share_the_surplus_in_proportion_to_the_ranges() -> None:
    """Surplus 200 + 1998 + 498 - 1000 = 1696 of a range of 3000: 1000 + 1130 and 500 + 565."""
    assert (min_freeable(BIG), min_freeable(SMALL)) == (1998, 498)
    assert targets(200, 1000, (BIG, SMALL)) == {A: 2130, B: 1065}


@pytest.mark.rule("Q4")
@pytest.mark.parametrize(
    ("free", "wanted", "expected"),
    [
        (10_000, 1000, {A: 3000, B: 1500}),  # gamma 1: never above dyn_max
        (200, 5000, {A: 1000, B: 500}),  # gamma 0: never below dyn_min
        (0, 2496, {A: 1000, B: 500}),  # exactly what is freeable
        (0, 2495, {A: 1000, B: 500}),  # one page of surplus: 2/3 and 1/3 of it, rounded down
        (0, 2493, {A: 1002, B: 501}),  # three pages
        (-500, 1996, {A: 1000, B: 500}),  # guests took what was reserved
    ],
)
def test_gamma_stays_between_nothing_and_all(free: int, wanted: Pages, expected: dict[Any, Pages]) -> None:
    """At the edges, page by page."""
    assert targets(free, wanted, (BIG, SMALL)) == expected


@pytest.mark.rule("Q4")
def test_a_domain_without_a_range_keeps_its_minimum() -> None:
    """dyn_min == dyn_max takes no part, alone or beside others."""
    fixed = domain(C, 800, 800, 800)
    assert targets(100, 0, (fixed,)) == {C: 800}
    assert targets(200, 1000, (BIG, SMALL, fixed)) == {A: 2130, B: 1065, C: 800}


# ---- Q5


@pytest.mark.rule("Q5")
def test_nobody_is_raised_while_anybody_is_to_come_down() -> None:
    """First A to 2130; while it is 129 pages above that, nothing; once it is near enough, B to 1065."""
    wanted = {A: 2130, B: 1065}
    assert first_lower_then_raise(wanted, (BIG, SMALL), 128) == {A: 2130}
    coming = domain(A, 1000, 3000, 2259, target=2130)
    assert first_lower_then_raise(wanted, (coming, SMALL), 128) == {}
    there = domain(A, 1000, 3000, 2258, target=2130)
    assert first_lower_then_raise(wanted, (there, SMALL), 128) == {B: 1065}


# ---- Q6, Q7


@pytest.mark.rule("Q6")
@pytest.mark.parametrize(
    ("actual", "active", "expected"),
    [
        (2500, True, 2130),  # active: its new target, although it has more
        (2500, False, 2130),  # inactive: the smaller of target and actual
        (1800, False, 1800),
        (400, False, 1000),  # and never below dyn_min
    ],
)
def test_maxmem_is_the_target_of_the_active_and_holds_the_inactive(
    actual: Pages, active: bool, expected: Pages
) -> None:
    """Between dyn_min 1000 and dyn_max 3000, with a target of 2130."""
    one = domain(A, 1000, 3000, actual, target=2130)
    assert maxmem(one, active=active, target=2130) == expected


@pytest.mark.rule("Q6", "Q7")
def test_setmaxmem_adds_a_mebibyte_for_hvm_and_the_offset_for_both() -> None:
    """2130 pages: 2386 for HVM, 2130 for PV; a domain whose actual is 32 below its target: 32 less."""
    hvm, pv = domain(A, 0, 3000, 2130), domain(B, 0, 3000, 2130, hvm=False)
    assert (max_pages(hvm, 2130, 0), max_pages(pv, 2130, 0)) == (2386, 2130)
    assert (max_pages(hvm, 2130, -32), max_pages(pv, 2130, -32)) == (2354, 2098)


@pytest.mark.rule("Q6")
def test_a_domain_that_never_ran_may_have_its_reservation() -> None:
    """Whatever its actual is."""
    one = domain(A, 0, 5000, 300, booted=False, initial_reservation=900)
    assert maxmem(one, active=False, target=300) == 900


# ---- a turn


@pytest.mark.rule("Q4", "Q5", "Q6")
def test_a_turn_lowers_the_active_and_names_who_refuses() -> None:
    """Only A works: it goes to 1000 + 1198; C keeps 700 above its minimum, and is named."""
    stuck = domain(C, 100, 900, 800, target=500)
    host = SqueezedHost(200, 0, (BIG, stuck))
    now = turn(host, 1000, {A}, 128, may_raise=False)
    changes = [(one.domain.key, one.target, one.maxmem) for one in now.changes]
    assert changes == [(A, 2198, 2198), (C, None, 500)]
    assert (now.available, now.settled, now.most, now.refusing) == (200, False, 2198, (C,))


def test_secured_memory_need_not_wait_for_guests_below_their_targets() -> None:
    """A may grow from 1200 to 2130: of 2000 free pages 1070 are available, and nobody is waited for."""
    below = domain(A, 1000, 3000, 1200, target=2130)
    host = SqueezedHost(2000, 0, (below,))
    at_target = turn(host, 500, {A}, 128, may_raise=False)
    secured = turn(host, 500, {A}, 128, may_raise=False, secure=True)
    assert (at_target.available, at_target.settled) == (2000, False)
    assert (secured.available, secured.settled) == (1070, True)


def test_securing_counts_what_guests_below_their_minimum_may_take() -> None:
    """A has 400 of its minimum of 1000: 600 of the 900 free pages are its own; 300 are the most there are."""
    host = SqueezedHost(900, 0, (domain(A, 1000, 3000, 400, target=1000),))
    secured = turn(host, 500, {A}, 128, may_raise=False, secure=True)
    assert (secured.available, secured.most) == (300, 300)


def test_a_reserving_turn_raises_nobody() -> None:
    """10,000 free: balancing raises both, reserving leaves them and is settled at once."""
    host = SqueezedHost(10_000, 0, (domain(A, 1000, 3000, 2000), SMALL))
    reserving = turn(host, 500, {A, B}, 128, may_raise=False)
    balancing = turn(host, 500, {A, B}, 128, may_raise=True)
    assert (reserving.settled, [one.target for one in reserving.changes]) == (True, [None, None])
    assert (balancing.settled, [one.target for one in balancing.changes]) == (False, [3000, 1500])
