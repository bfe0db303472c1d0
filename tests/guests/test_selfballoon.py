"""Self-ballooning as xen-selfballoon computes it, alone and in a running kernel."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from guests.config import ConstantSpec, SelfBalloonSpec, SquareSpec
from guests.selfballoon import SelfBalloon, Selfshrink, totalreserve, usable_floor
from guests.zipf import Zipf
from hypervisor.public.memory import DecreaseReservation
from hypervisor.public.units import PAGES_PER_MIB, runs_length
from tests.toolstack.virtual_toolstack import ReleaseHost
from tests.virtual_host import Guest

MIB = PAGES_PER_MIB
RAM = 1024 * MIB
MARGIN = totalreserve(RAM)
"""What a guest of 1 GiB keeps beside what is committed."""


@pytest.mark.rule("G10", "G11")
def test_a_surplus_goes_by_eighths_and_a_lack_at_once() -> None:
    """Above the goal an eighth of the surplus goes, below it all that lacks comes, at it nothing moves."""
    sizing = SelfBalloon(RAM)
    demand = 600 * MIB
    assert sizing.target(demand, demand + MARGIN + 800) == demand + MARGIN + 700
    assert sizing.target(demand, demand + MARGIN - 800) == demand + MARGIN
    assert sizing.target(demand, demand + MARGIN) is None


@pytest.mark.rule("G10", "G11")
def test_hysteresis_reserve_and_frontswap_move_the_goal() -> None:
    """Other hystereses divide otherwise; reserved pages and those in frontswap are room to be kept."""
    sizing = SelfBalloon(RAM, down_hysteresis=4, up_hysteresis=2, reserved=100, frontswap_pages=lambda: 50)
    goal = 600 * MIB + MARGIN + 150
    assert sizing.target(600 * MIB, goal + 400) == goal + 300
    assert sizing.target(600 * MIB, goal - 400) == goal - 200


@pytest.mark.rule("G12")
@pytest.mark.parametrize(
    ("useful_mib", "floor_mib"),
    [(16, 16), (40, 28), (63, 39), (64, 43), (400, 85), (511, 98), (512, 111), (2048, 159)],
)
def test_the_floor_is_piecewise_linear(useful_mib: int, floor_mib: int) -> None:
    """Of so many usable MiB so many are never given away, beside the kernel's own reserve."""
    ram = next(
        pages
        for pages in range(useful_mib * MIB, (useful_mib + 200) * MIB)
        if (pages - totalreserve(pages)) // MIB == useful_mib
    )
    assert usable_floor(ram, 0) == totalreserve(ram) + floor_mib * MIB


@pytest.mark.rule("G12")
def test_a_tiny_guest_does_not_balloon_and_a_told_minimum_counts() -> None:
    """Under 16 usable MiB the floor is everything; min_usable replaces the piecewise function."""
    assert usable_floor(12 * MIB, 0) == 12 * MIB
    assert usable_floor(RAM, 32 * MIB) == MARGIN + 32 * MIB
    assert SelfBalloon(RAM, min_usable=32 * MIB).target(0, MARGIN + 32 * MIB + 4) == MARGIN + 32 * MIB


@pytest.mark.rule("G13")
def test_frontswap_shrinks_by_a_twentieth_once_it_has_not_grown_for_three_ticks() -> None:
    """Growth starts the count anew; then every tick takes a twentieth, and the last twenty at once."""
    shrink = Selfshrink()
    assert [shrink.target(pages) for pages in (0, 400, 500)] == [None, None, None]
    assert [shrink.target(500) for _ in range(3)] == [None, None, 475]
    assert shrink.target(475) == 452
    assert shrink.target(600) is None
    assert [shrink.target(20) for _ in range(3)] == [None, None, 0]


@pytest.mark.rule("G9", "G11", "G13a")
def test_a_kernel_gives_an_eighth_of_its_surplus_every_five_seconds() -> None:
    """A guest far above its goal falls slowly; when demand rises it has what it wants at the next tick."""
    host = ReleaseHost(name="4.12", tmem=True)
    guest = Guest(
        host,
        60 * MIB,
        64 * MIB,
        workload=SquareSpec(low=4 * MIB, high=50 * MIB, period=400.0, phase=0.5),
        selfballoon=SelfBalloonSpec(min_usable=5 * MIB),
        swap=64 * MIB,
        tick=1.0,
    )
    host.run_until(100.5)
    goal = 4 * MIB + totalreserve(64 * MIB)
    expected = [60 * MIB]
    while len(expected) < 21:
        expected.append(max(expected[-1] - (expected[-1] - goal) // 8, goal + MIB))
    given: dict[int, int] = {}
    for when, request in guest.sent:
        if isinstance(request, DecreaseReservation):
            tick = int(when) // 5
            given[tick] = given.get(tick, 0) + runs_length(request.extents)
    assert [given.get(tick, 0) for tick in range(1, 21)] == [a - b for a, b in pairwise(expected)]
    host.run_until(206.5)
    assert guest.tot_pages() == 50 * MIB + totalreserve(64 * MIB)


@pytest.mark.rule("G9")
def test_without_selfballooning_the_worker_does_not_run() -> None:
    """A constant guest whose target nobody moves makes no balloon call."""
    host = ReleaseHost(name="4.12", tmem=True)
    guest = Guest(host, 8 * MIB, 16 * MIB, workload=ConstantSpec(2 * MIB), self_sizing=False)
    host.run_until(60.0)
    assert guest.tot_pages() == 8 * MIB


def test_zipf_draws_popular_things_more_often() -> None:
    """With exponent 1 the first of 100 is drawn twice as often as the second; with 0 all alike."""
    rng = Random(5)
    counts = [0] * 100
    law = Zipf(100, 1.0)
    for _ in range(50_000):
        counts[law.draw(rng)] += 1
    assert 1.8 < counts[0] / counts[1] < 2.2
    assert min(counts) > 0
    assert {Zipf(3, 0.0).draw(rng) for _ in range(100)} == {0, 1, 2}
    with pytest.raises(ValueError, match="need n >= 1"):
        Zipf(0, 1.0)
