"""VIRQ_ENOMEM, raised by allocations that leave little unclaimed memory (A27)."""

from __future__ import annotations

import pytest

from hypervisor.core.low_memory import DEFAULT_THRESHOLD, LowMemoryVirq
from hypervisor.public.memory import ClaimPages, DecreaseReservation, IncreaseReservation
from hypervisor.public.requests import VirqEvent
from hypervisor.public.units import ULONG_MASK, VIRQ_ENOMEM
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)


def warnings(bench: SmallHost, domid: int, pages: int) -> list[int]:
    """Unclaimed pages at each warning while the domain takes this many pages."""
    running = bench.submit(IncreaseReservation(domid, pages))
    seen = []
    while running.reply is None:
        for emission in bench.step(running).emissions:
            assert isinstance(emission.event, VirqEvent)
            assert (emission.to, emission.event.virq) == (None, VIRQ_ENOMEM)
            seen.append(bench.unclaimed)
    return seen


@every_release
@pytest.mark.rule("A27")
def test_each_power_of_two_below_the_threshold_warns_once(name: str) -> None:
    """With a threshold of 64 pages the warnings come at 64, 32, 16 ... 1 and at 0 for the last."""
    bench = SmallHost(name, low_mem_virq_pages=64)
    guest = bench.create()
    bench.leave_free(100)
    assert warnings(bench, guest.domid, 100) == [64, 32, 16, 8, 4, 2, 1, 0]


@every_release
@pytest.mark.rule("A27")
def test_a_warning_comes_again_only_after_memory_came_back(name: str) -> None:
    """The same threshold warns again when twice as much has been available to an allocation."""
    bench = SmallHost(name, low_mem_virq_pages=64)
    guest = bench.create()
    bench.leave_free(200)
    assert warnings(bench, guest.domid, 140) == [64]
    assert bench.ret(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)[:10]))) == 10
    assert warnings(bench, guest.domid, 20) == []  # past 64 again, but 128 were never free in between
    assert bench.ret(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)))) == 150
    assert warnings(bench, guest.domid, 140) == [64]


@every_release
@pytest.mark.rule("A27")
def test_a_claim_lowers_what_is_available_but_does_not_warn_itself(name: str) -> None:
    """The claim is silent; the next allocation of anybody warns."""
    bench = SmallHost(name, low_mem_virq_pages=64)
    guest, other = bench.create(), bench.create()
    bench.leave_free(200)
    claim = bench.submit(ClaimPages(guest.domid, 150))
    assert bench.step(claim).emissions == ()
    assert warnings(bench, other.domid, 1) == [49]


@pytest.mark.rule("A27")
@pytest.mark.parametrize(
    ("wanted", "available", "threshold"),
    [
        (None, 1 << 20, DEFAULT_THRESHOLD),
        (None, 1000, 256),  # halved when it is all there is, then rounded down
        (100, 1 << 20, 64),
        (1, 50, 1),
        (1 << 30, 1 << 30, 1 << 18),
        (0, 1 << 20, ULONG_MASK),  # meant to switch it off, stores all ones
    ],
)
def test_threshold_at_boot(wanted: int | None, available: int, threshold: int) -> None:
    """The threshold is a power of two at or under what was asked for and what there is, at most 1 GiB."""
    virq = LowMemoryVirq()
    virq.set_up(wanted, available)
    assert virq.threshold == threshold


@pytest.mark.rule("A27", "C27")
def test_a_negative_difference_looks_like_plenty() -> None:
    """free - claims is unsigned long: inside the window it wraps, and no warning is given."""
    virq = LowMemoryVirq()
    virq.set_up(64, 1000)
    assert virq.check(64)
    assert not virq.check(-1)
    for _ in range(200):
        virq.check(-1)
    assert max(virq.content()) <= ULONG_MASK
