"""Poisson and burst arrivals: their rates, their bounds, their repeatability."""

from __future__ import annotations

from itertools import islice, pairwise
from random import Random

import pytest

from launch.arrivals.arrival import Arrival, Size
from launch.arrivals.synthetic import burst, exponential, forever, poisson

SMALL, LARGE = Size(1024, 1), Size(4096, 2)


def test_poisson_arrives_at_its_rate() -> None:
    """At 2 launches a second for 5,000 seconds the count lies within five deviations of 10,000."""
    arrivals = list(poisson(2.0, [SMALL, LARGE], forever, Random(1), until=5000))
    assert abs(len(arrivals) - 10_000) < 500
    assert all(earlier.t <= later.t for earlier, later in pairwise(arrivals))
    assert arrivals[-1].t < 5000
    large = sum(arrival.pages == LARGE.pages for arrival in arrivals)
    assert abs(large - 5000) < 250
    assert all((a.pages, a.vcpus) in ((1024, 1), (4096, 2)) for a in arrivals)


def test_poisson_launches_are_batches_of_one() -> None:
    """Every Poisson launch has a batch number of its own; without `until` the stream goes on."""
    assert [a.batch for a in islice(poisson(1.0, [SMALL], forever, Random(1)), 100)] == list(range(100))


def test_exponential_lifetimes_have_their_mean() -> None:
    """Exponential lifetimes average their mean."""
    rng = Random(2)
    draw = exponential(300.0)
    drawn = [draw(rng) or 0.0 for _ in range(20_000)]
    assert abs(sum(drawn) / len(drawn) - 300) < 15


def test_a_burst_is_one_batch_within_its_spread() -> None:
    """A burst launches its count in one batch, in time order, between `at` and `at + spread`."""
    arrivals = list(burst(20, LARGE, at=30.0, spread=4.0, rng=Random(3), batch=7))
    assert len(arrivals) == 20
    assert arrivals == sorted(arrivals, key=lambda arrival: arrival.t)
    assert all(30 <= arrival.t <= 34 for arrival in arrivals)
    assert {(a.pages, a.vcpus, a.lifetime, a.batch) for a in arrivals} == {(4096, 2, None, 7)}


def test_a_burst_without_spread_arrives_at_once() -> None:
    """With no spread all launches have the same second."""
    assert list(burst(2, SMALL, 5.0, 0.0, Random(1))) == [Arrival(5.0, 1024, 1, None, 0)] * 2


def test_streams_repeat_with_their_seed() -> None:
    """The same random stream gives the same arrivals, another one others."""
    made = [list(poisson(1.0, [SMALL], exponential(9), Random(s), until=50)) for s in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_impossible_parameters_are_refused_at_once() -> None:
    """A rate, size list, mean or burst that makes no sense is refused before the first arrival."""
    with pytest.raises(ValueError, match="rate"):
        poisson(0, [SMALL], forever, Random(1))
    with pytest.raises(ValueError, match="sizes"):
        poisson(1, [], forever, Random(1))
    with pytest.raises(ValueError, match="lifetime"):
        exponential(0)
    with pytest.raises(ValueError, match="burst"):
        burst(-1, SMALL, 0, 0, Random(1))
