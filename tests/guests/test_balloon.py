"""The balloon driver against the real core, in virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from guests.config import ConstantSpec
from hypervisor.public.memory import DecreaseReservation, PopulatePhysmap
from tests.virtual_host import Guest, VirtualHost

START = 2048
STATIC_MAX = 8192


def boot(host: VirtualHost, **changes: Any) -> Guest:
    """A guest of START pages that only its toolstack moves."""
    defaults = {"workload": ConstantSpec(100), "self_sizing": False, "tick": 1.0}
    guest = Guest(host, START, STATIC_MAX, **{**defaults, **changes})
    host.run_until(1.0)
    return guest


def populates(guest: Guest) -> list[tuple[float, PopulatePhysmap]]:
    return [(when, request) for when, request in guest.sent if isinstance(request, PopulatePhysmap)]


def attempt_gaps(guest: Guest) -> list[float]:
    """Seconds between populate calls, latency taken off."""
    times = [when for when, _ in populates(guest)]
    return [round(later - earlier, 1) for earlier, later in pairwise(times)]


@pytest.mark.rule("G3", "G4")
def test_one_call_at_a_time_names_512_order_0_frames_of_its_own() -> None:
    """The faithful driver has one call in flight, of at most 512 order-0 frames, addressed to DOMID_SELF."""
    host = VirtualHost()
    guest = boot(host)
    host.set_target(guest.domid, 5000)
    host.run_until(10.0)
    host.set_target(guest.domid, 1100)
    host.run_until(20.0)
    sizes = [r.nr_extents for _, r in guest.sent if isinstance(r, PopulatePhysmap | DecreaseReservation)]
    assert sizes == [512] * 5 + [392] + [512] * 7 + [316]
    assert guest.most_unanswered == 1
    assert guest.tot_pages() == guest.report().current_pages == 1100


@pytest.mark.rule("G5", "G8")
def test_a_clamped_guest_backs_off_and_sleeps_on_when_the_limit_is_restored() -> None:
    """Populate answers 0 under a lowered max_pages, waits double, and restoring the limit wakes nobody."""
    host = VirtualHost()
    guest = boot(host)
    host.set_max(guest.domid, START)
    host.set_target(guest.domid, 3000)
    host.run_until(70.0)
    assert attempt_gaps(guest) == [2, 4, 8, 16, 32]
    host.set_max(guest.domid, STATIC_MAX)
    host.run_until(94.0)
    assert guest.tot_pages() == START
    host.run_until(97.0)
    assert guest.tot_pages() == 3000
    report = guest.report()
    assert (report.retries, report.longest_wait_s, report.pages_refused) == (6, 32.0, 6 * 512)


@pytest.mark.rule("G5")
def test_a_new_target_does_not_shorten_a_wait() -> None:
    """balloon_set_new_target() queues a work that is queued already, which changes nothing."""
    host = VirtualHost()
    guest = boot(host)
    host.set_max(guest.domid, START)
    host.set_target(guest.domid, 3000)
    host.run_until(20.0)
    host.set_max(guest.domid, STATIC_MAX)
    host.set_target(guest.domid, 2500)
    host.run_until(29.0)
    assert guest.tot_pages() == START
    host.run_until(33.0)
    assert guest.tot_pages() == 2500


@pytest.mark.rule("G3")
def test_part_of_a_populate_is_progress() -> None:
    """A partial answer counts as DONE: the driver asks again at once, and the wait stays the first one."""
    host = VirtualHost()
    guest = boot(host)
    host.set_max(guest.domid, START + 700)
    host.set_target(guest.domid, START + 1000)
    host.run_until(8.0)
    assert [request.nr_extents for _, request in populates(guest)] == [512, 488, 300, 300, 300]
    assert attempt_gaps(guest) == [0, 0, 2, 4]
    report = guest.report()
    assert report.current_pages == guest.tot_pages() == START + 700
    assert (report.populate_calls, report.populate_calls_refused) == (5, 4)
    assert (report.pages_asked, report.pages_refused) == (1900, 1200)


@pytest.mark.rule("G5")
def test_v5_3_stops_after_four_failures_until_a_new_target_comes() -> None:
    """ECANCELED ends the attempts; a later target begins four new ones."""
    host = VirtualHost()
    guest = boot(host, max_retry_count=4)
    host.set_max(guest.domid, START)
    host.set_target(guest.domid, 3000)
    host.run_until(500.0)
    assert attempt_gaps(guest) == [2, 4, 8]
    host.set_target(guest.domid, 3001)
    host.run_until(1000.0)
    assert len(populates(guest)) == 8
    assert guest.report().cancellations == 2


@pytest.mark.rule("G2")
def test_credit_ends_at_what_the_balloon_holds() -> None:
    """A target above static-max moves the guest to static-max and asks for nothing more."""
    host = VirtualHost()
    guest = boot(host)
    host.set_max(guest.domid, 4 * STATIC_MAX)
    host.set_target(guest.domid, 2 * STATIC_MAX)
    host.run_until(30.0)
    report = guest.report()
    assert (report.current_pages, report.retries) == (STATIC_MAX, 0)


@pytest.mark.rule("G7")
@pytest.mark.parametrize(("kind", "reached"), [("hvm", 2990), ("pv", 3000)])
def test_an_hvm_guest_takes_its_video_memory_off_the_target(kind: str, reached: int) -> None:
    """HVM: target less (static-max - the RAM the kernel counts); PV: the target as written."""
    host = VirtualHost()
    guest = Guest(host, START, STATIC_MAX, video=10, kind=kind, workload=ConstantSpec(10), self_sizing=False)
    host.set_target(guest.domid, 3000)
    host.run_until(10.0)
    assert guest.report().current_pages == reached


@pytest.mark.rule("G4")
def test_a_frame_that_is_not_the_guests_any_more_is_a_kernel_bug() -> None:
    """decrease_reservation that answers less than asked crashes the guest, as BUG_ON does."""
    host = VirtualHost()
    guest = boot(host)
    host.control(DecreaseReservation(guest.domid, ((START - 5, 1),)))
    host.set_target(guest.domid, 1000)
    host.run_until(5.0)
    report = guest.report()
    assert report.crashed
    assert report.ending == "kernel BUG: decrease_reservation answered 507 for 512 pages"


@pytest.mark.rule("A11")
def test_a_pv_guest_populates_gfns_and_gives_mfns_back() -> None:
    """A PV guest that balloons up and down again names only mfns it owns, and the books agree."""
    host = VirtualHost()
    guest = boot(host, kind="pv")
    for target in (4000, 1500, 6000, 700):
        host.set_target(guest.domid, target)
        host.run_until(host.now + 10.0)
        assert guest.tot_pages() == guest.report().current_pages == target
    owned = {
        mfn
        for _, request in guest.sent
        if isinstance(request, DecreaseReservation)
        for first, count in request.extents
        for mfn in range(first, first + count)
    }
    assert min(owned) >= STATIC_MAX  # machine frames, not the guest's own numbers


@pytest.mark.parametrize(("in_flight", "batch"), [(4, 1), (1, 3), (3, 2), (8, 4)])
def test_many_calls_in_flight_move_the_same_pages(in_flight: int, batch: int) -> None:
    """Calls in flight and multicalls change how many wait at once, never what the guest ends up with."""
    host = VirtualHost()
    guest = boot(host, in_flight=in_flight, batch=batch)
    for target in (7000, 300, 5000):
        host.set_target(guest.domid, target)
        host.run_until(host.now + 10.0)
        assert guest.tot_pages() == guest.report().current_pages == target
    assert guest.most_unanswered == in_flight
    report = guest.report()
    assert report.messages == report.hypercalls if batch == 1 else report.messages < report.hypercalls


def test_refused_frames_of_calls_in_flight_go_back_into_the_balloon() -> None:
    """After refusals in the middle of a round the guest still reaches its static maximum, each frame once."""
    host = VirtualHost()
    guest = boot(host, in_flight=4, batch=2)
    host.set_max(guest.domid, START + 1300)
    host.set_target(guest.domid, STATIC_MAX)
    host.run_until(4.0)
    assert guest.report().current_pages == START + 1300
    host.set_max(guest.domid, STATIC_MAX)
    host.run_until(80.0)
    assert guest.report().current_pages == guest.tot_pages() == STATIC_MAX
    domain = host.simulator.machine.host.find(guest.domid)
    assert domain is not None and domain.p2m is not None
    assert all(domain.p2m.lookup(gfn) is not None for gfn in range(STATIC_MAX))
