"""Synthetic demand: functions of the emulated second, bounded, repeatable, and refused when impossible."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guests.workloads import Constant, RandomWalk, Sine, Square, Workload

SECONDS = st.floats(0, 1e5)
EARLY_SECONDS = st.floats(0, 500)


def walk(seed: int = 1) -> RandomWalk:
    return RandomWalk(start=500, step=40, low=450, high=600, interval=2.0, rng=Random(seed))


def test_a_sine_passes_mean_peak_mean_and_trough_in_one_period() -> None:
    """A sine starts at its mean and reaches peak and trough a quarter and three quarters into the period."""
    sine = Sine(mean=1000, amplitude=600, period=40.0)
    assert [sine.demand(t) for t in (0, 10, 20, 30, 40)] == [1000, 1600, 1000, 400, 1000]


def test_phase_three_quarters_samples_the_trough_at_zero() -> None:
    """The worst-case domain of the debate is at the minimum point when it is sampled at t=0."""
    assert Sine(mean=1000, amplitude=600, period=40.0, phase=0.75).demand(0) == 400


@given(t=SECONDS, phase=st.floats(0, 1))
def test_a_sine_stays_within_its_amplitude(t: float, phase: float) -> None:
    """A sine's demand never leaves mean +- amplitude and is never negative."""
    assert 0 <= Sine(mean=100, amplitude=100, period=7.0, phase=phase).demand(t) <= 200


def test_a_square_is_high_for_its_duty() -> None:
    """A square wave is high for the first `duty` of each period; the phase moves it."""
    square = Square(low=10, high=90, period=10.0, duty=0.3)
    assert [square.demand(t) for t in (0, 2.9, 3.1, 9.9, 10)] == [90, 90, 10, 10, 90]
    assert Square(low=10, high=90, period=10.0, duty=0.3, phase=0.5).demand(0) == 10


@given(seed=st.integers(0, 50), t=EARLY_SECONDS)
def test_a_walk_stays_between_its_walls(seed: int, t: float) -> None:
    """A random walk never passes its reflecting walls, wherever it is asked."""
    assert 450 <= walk(seed).demand(t) <= 600


@given(times=st.lists(EARLY_SECONDS, min_size=1, max_size=8))
def test_a_walk_is_a_function_of_time(times: list[float]) -> None:
    """Asked in any order, a walk answers what a fresh walk of the same seed answers."""
    asked = walk()
    assert [asked.demand(t) for t in times] == [walk().demand(t) for t in times]


def test_a_walk_moves_by_at_most_its_step_once_an_interval() -> None:
    """A walk stands still within an interval, moves by at most `step` between two, and does move."""
    asked = walk()
    places = [asked.demand(2.0 * n) for n in range(400)]
    assert all(abs(b - a) <= 40 for a, b in pairwise(places))
    assert len(set(places)) > 50
    assert asked.demand(11.9) == asked.demand(10.0)


def test_a_step_wider_than_the_room_stays_inside() -> None:
    """Reflection holds even when a step is longer than the distance between the walls."""
    narrow = RandomWalk(start=5, step=1000, low=0, high=10, interval=1.0, rng=Random(3))
    assert all(0 <= narrow.demand(t) <= 10 for t in range(200))


def test_walks_of_one_stream_are_independent_of_when_they_are_asked() -> None:
    """Two walks seeded from one stream give the same places however their questions interleave."""
    rng = Random(9)
    first, second = (RandomWalk(50, 5, 0, 100, 1.0, rng) for _ in range(2))
    interleaved = [(first.demand(t), second.demand(t)) for t in range(50)]
    rng = Random(9)
    first, second = (RandomWalk(50, 5, 0, 100, 1.0, rng) for _ in range(2))
    firsts = [first.demand(t) for t in range(50)]
    assert interleaved == list(zip(firsts, [second.demand(t) for t in range(50)], strict=True))
    assert firsts != [place for _, place in interleaved]


def test_every_workload_satisfies_the_protocol() -> None:
    """Each synthetic workload can stand where a Workload is wanted."""
    workloads: list[Workload] = [Constant(5), Sine(5, 5, 1.0), Square(0, 5, 1.0), walk()]
    assert all(isinstance(workload.demand(0.5), int) for workload in workloads)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Constant(-1), "pages"),
        (lambda: Sine(10, 11, 1.0), "amplitude"),
        (lambda: Sine(10, 5, 0), "period"),
        (lambda: Square(5, 4, 1.0), "low"),
        (lambda: Square(5, 6, 1.0, duty=1.5), "duty"),
        (lambda: RandomWalk(5, 1, 6, 9, 1.0, Random(1)), "start"),
        (lambda: RandomWalk(5, 1, 0, 9, 0, Random(1)), "interval"),
    ],
)
def test_impossible_parameters_are_refused_in_one_line(make: object, word: str) -> None:
    """A parameter that makes no sense is refused at construction, by name, in one line."""
    assert callable(make)
    with pytest.raises(ValueError, match=word) as caught:
        make()
    assert "\n" not in str(caught.value)
