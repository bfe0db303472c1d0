"""A whole guest kernel in virtual time on the real core."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from guests.config import ConstantSpec, RandomWalkSpec, SineSpec, SquareSpec
from guests.report import GuestReport
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.requests import Reply
from hypervisor.public.world import IndefiniteError, RefusedByWireError
from hypervisor.public.xenstore import StoreRead, StoreText, feature_balloon_path
from tests.virtual_host import Guest, VirtualHost

START = 4096
STATIC_MAX = 8192
SINE = SineSpec(mean=4000, amplitude=2500, period=200.0)


def boot(host: VirtualHost, **changes: Any) -> Guest:
    return Guest(host, START, STATIC_MAX, **{"workload": SINE, "tick": 1.0, **changes})


def test_self_sizing_follows_demand_without_swap() -> None:
    """On an empty host the target follows demand with headroom, and no page is ever swapped."""
    host = VirtualHost()
    guest = boot(host)
    for second in (50, 150, 250, 350):
        host.run_until(second + 0.9)
        report = guest.report()
        assert report.current_pages == report.target_pages == guest.tot_pages()
        assert report.current_pages == round(report.demand_pages * 1.1)
    assert (report.lowest_pages, report.highest_pages) == (1650, 7150)
    assert (report.swapped_out, report.stalled_s, report.oom_kills, report.pages_refused) == (0, 0.0, 0, 0)


def test_self_sizing_stays_between_floor_and_static_max() -> None:
    """The target is clamped to [floor, static_max] whatever demand is."""
    host = VirtualHost()
    guest = boot(host, workload=SquareSpec(low=10, high=20_000, period=40.0), floor=1000, swap=30_000)
    host.run_until(100.0)
    report = guest.report()
    assert (report.lowest_pages, report.highest_pages) == (1000, STATIC_MAX)


@pytest.mark.rule("G8")
def test_a_clamped_worst_case_domain_swaps_and_recovers() -> None:
    """Pinned at its trough, a sine guest swaps its way up; once free it grows again and swaps back in."""
    host = VirtualHost()
    guest = boot(host, swap=8192)
    host.run_until(150.0)
    trough = guest.tot_pages()
    host.set_max(guest.domid, trough)
    host.run_until(250.0)
    clamped = guest.report()
    assert guest.tot_pages() == trough
    assert clamped.swapped_pages == clamped.demand_pages - trough > 4000
    assert clamped.pages_refused > 0 and clamped.stalled_s > 50.0
    host.set_max(guest.domid, STATIC_MAX)
    host.run_until(300.0)
    after = guest.report()
    assert (after.swapped_pages, after.oom_kills) == (0, 0)
    assert after.swapped_in > 0


def test_demand_that_swap_cannot_hold_is_killed_and_comes_back() -> None:
    """With no swap a clamp kills processes, one share at a time, and each restarts after its time."""
    host = VirtualHost()
    guest = boot(host, workload=SquareSpec(low=2000, high=6000, period=1000.0, phase=0.4), oom_restart=50.0)
    host.run_until(99.0)
    host.set_max(guest.domid, START)
    # The square is high from second 600 on; at 4096 pages only two of four shares of 1500 fit.
    host.run_until(610.0)
    report = guest.report()
    assert (report.oom_kills, report.demand_pages, report.swapped_pages) == (2, 3000, 0)
    host.set_max(guest.domid, STATIC_MAX)
    host.run_until(700.0)
    assert guest.report().demand_pages == 6000


def test_a_guest_that_may_not_size_itself_keeps_its_target() -> None:
    """With self_sizing off demand moves nothing: what does not fit goes to swap."""
    host = VirtualHost()
    guest = boot(host, self_sizing=False, swap=8192)
    host.run_until(60.0)
    report = guest.report()
    assert (report.current_pages, report.hypercalls) == (START, 0)
    assert report.swapped_pages == report.demand_pages - START > 0


def test_the_guest_tells_the_toolstack_that_it_balloons() -> None:
    """control/feature-balloon is 1 once the driver runs."""
    host = VirtualHost()
    guest = boot(host)
    host.run_until(1.0)
    assert host.control(StoreRead(feature_balloon_path(guest.domid))).value == StoreText("1")


def test_a_destroyed_domain_ends_quietly_with_its_report() -> None:
    """Destruction under a guest ends it as domain-gone, in the middle of whatever it did."""
    host = VirtualHost()
    guest = boot(host, in_flight=3)
    host.run_until(20.0)
    host.control(DestroyDomain(guest.domid))
    host.run_until(40.0)
    assert guest.task.done()
    report = guest.task.result()
    assert (report.ending, report.crashed) == ("domain-gone", False)
    assert 20.0 <= report.ended_s < 25.0


@pytest.mark.rule("A11", "P10")
@pytest.mark.parametrize("kind", ["hvm", "pv"])
def test_a_domain_destroyed_in_the_middle_of_a_decrease_is_no_kernel_bug(kind: str) -> None:
    """A decrease that destruction cuts short answers less than asked, yet the guest ends as domain-gone."""
    host = VirtualHost()
    guest = boot(host, kind=kind, self_sizing=False, workload=ConstantSpec(10))
    host.run_until(5.0)
    host.set_target(guest.domid, 100)
    host.simulator.run(stop=lambda: guest.tot_pages() < START - 100)
    host.control(DestroyDomain(guest.domid))
    host.run_until(10.0)
    assert guest.task.result().ending == "domain-gone"


def test_stop_ends_a_guest_at_once() -> None:
    """stop() makes run() return a report whose ending is `stopped`."""
    host = VirtualHost()
    guest = boot(host)
    host.run_until(20.0)
    assert guest.report().ending == "running"
    guest.kernel.stop()
    host.run_until(20.0)
    assert guest.task.result().ending == "stopped"
    calls = len(guest.sent)
    host.run_until(100.0)
    assert len(guest.sent) == calls


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (IndefiniteError("no word"), "connection-lost"),
        (RefusedByWireError("shutting-down", "going"), "connection-lost"),
        (RefusedByWireError("stale-incarnation", "another domain has the number"), "domain-gone"),
    ],
)
def test_what_can_befall_a_connection_ends_the_guest_with_a_report(
    error: Exception, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost answer is never repeated blindly: the guest ends, and its report says why."""
    host = VirtualHost()
    guest = boot(host)
    host.run_until(20.0)
    monkeypatch.setattr(guest.world, "hypercall", lambda request: failing(error))
    host.run_until(40.0)
    assert guest.task.result().ending == ending


async def failing(error: Exception) -> Reply:
    raise error


def test_a_refusal_that_is_our_own_fault_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wire refusal that no living guest can meet leaves the run as the exception it is."""
    host = VirtualHost()
    guest = boot(host)
    host.run_until(20.0)
    refusal = RefusedByWireError("bad-secret", "not you")
    monkeypatch.setattr(guest.world, "hypercall", lambda request: failing(refusal))
    with pytest.raises(RefusedByWireError, match="bad-secret"):
        host.run_until(40.0)


def race(seed: int) -> list[GuestReport]:
    """Three guests whose demand does not fit the host together."""
    host = VirtualHost(ram=58 * 256)
    walk = RandomWalkSpec(start=2000, step=400, low=0, high=6000, interval=2.0)
    guests = [
        Guest(host, 1000, 8000, workload=walk, seed=seed + n, swap=2000, tick=1.0, in_flight=2)
        for n in range(3)
    ]
    host.run_until(300.0)
    assert [guest.tot_pages() for guest in guests] == [guest.report().current_pages for guest in guests]
    return [guest.report() for guest in guests]


def test_same_seed_same_counters() -> None:
    """Two runs with one seed give equal reports to the last counter; another seed does not."""
    first = race(7)
    assert first == race(7)
    assert first != race(8)
    assert all(report.pages_refused for report in first)


def test_reports_travel_as_json() -> None:
    """A report read back from its bytes is the same report."""
    host = VirtualHost()
    guest = boot(host, workload=ConstantSpec(10))
    host.run_until(3.0)
    report = guest.report()
    assert msgspec.json.decode(msgspec.json.encode(report), type=GuestReport) == report
