"""Whether timings of processes can be trusted: how lag is measured, the rule, and who is told."""

from __future__ import annotations

import pytest

from hypervisor.lag import LagMeter
from hypervisor.public.lag import Lag
from launch.debate.round_trip import round_trip
from launch.scenario.load import load_document
from launch.trust import distrust, time_scale


def test_the_worst_sleeps_decide() -> None:
    """The 99th percentile is that of the sleeps or up to an eighth above it, and the maximum is exact."""
    meter = LagMeter()
    for microseconds in range(1, 1001):
        meter.overslept(microseconds * 1000)
    lag = meter.lag()
    assert 990e-6 <= lag.p99_s <= 990e-6 * 9 / 8
    assert (lag.max_s, lag.count) == (1e-3, 1000)


def test_early_is_in_time() -> None:
    """Who wakes up before the moment asked for is not late."""
    meter = LagMeter()
    meter.overslept(-5000)
    assert meter.lag() == Lag(0.0, 0.0, 1)


def test_nothing_slept_is_no_lag() -> None:
    """A process that never slept reports nothing."""
    assert LagMeter().lag() == Lag()


@pytest.mark.parametrize(("speed", "trusted"), [(1.0, True), (20.0, False)])
def test_lag_counts_in_emulated_time(speed: float, trusted: bool) -> None:
    """10 ms are little in real time and too much at twenty emulated seconds a second; the worst is named."""
    lags = {"hypervisor": Lag(1e-4, 1.0, 10), "guest 3": Lag(0.01, 0.02, 10)}
    complaint = distrust(lags, speed, 1.0)
    assert (complaint is None) is trusted
    assert trusted or (complaint is not None and "guest 3 woke up 200 ms" in complaint)
    assert "woke up 1,340 ms" in str(distrust({"guest 1": Lag(1.34, 2.0, 10)}, 1.0, 1.0))


def test_the_shortest_time_is_a_tick_or_a_build() -> None:
    """A build shorter than a tick is what matters."""
    document = {
        "name": "short",
        "schemes": ["claim"],
        "guests": {"count": 1, "memory": "1MiB", "tick": 2.0},
        "arrivals": {"count": 1, "size": "4MiB"},
        "toolstack": {"pages_per_second": 2048},
    }
    assert time_scale(load_document("short", document, []).scenario) == 0.5


def test_a_round_trip_is_measured_between_processes() -> None:
    """It takes some time, and less than a second."""
    assert 0 < round_trip() < 1
