"""Replay: interpolated, streamed, repeatable, and clear about the end of a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guests.replay import Point, Replay
from guests.traces.errors import TraceError

POINTS: tuple[Point, ...] = ((0, 100), (300, 400), (600, 100), (900, 1000))


def points() -> Iterator[Point]:
    return iter(POINTS)


class Counting:
    """Opens a long trace and counts how often it was opened and how many points were taken."""

    def __init__(self) -> None:
        self.opened = self.taken = 0

    def __call__(self) -> Iterator[Point]:
        self.opened += 1
        for number in range(100_000):
            self.taken += 1
            yield 300.0 * number, number


def test_demand_is_interpolated_between_samples() -> None:
    """Between two samples the demand lies on the straight line that joins them."""
    replay = Replay(points)
    assert [replay.demand(t) for t in (0, 150, 300, 400, 750)] == [100, 250, 400, 300, 550]


def test_speedup_start_and_scale_map_time_and_pages() -> None:
    """`speedup` trace seconds pass in an emulated one, from `start` on; `scale` multiplies the pages."""
    assert Replay(points, start=300, speedup=60, scale=2).demand(2.5) == 2 * 250


def test_floor_and_ceiling_bound_the_demand() -> None:
    """The Qubes rule min(max, max(floor, 1.3 x used)) comes out of scale, floor and ceiling."""
    replay = Replay(points, scale=1.3, floor=200, ceiling=1200)
    assert [replay.demand(t) for t in (0, 300, 900)] == [200, 520, 1200]


def test_hold_keeps_the_last_value_after_the_window() -> None:
    """With "hold" the demand stays at the end of the window, be it cut short or the end of the trace."""
    assert Replay(points).demand(5000) == 1000
    assert Replay(points, length=450).demand(5000) == 250


def test_loop_begins_again_after_the_window() -> None:
    """With "loop" second length + x repeats second x, for a window cut short and for the whole trace."""
    cut, whole = Replay(points, start=300, length=450, after="loop"), Replay(points, after="loop")
    assert [cut.demand(450 + t) for t in (0, 100, 550)] == [cut.demand(t) for t in (0, 100, 100)]
    assert [whole.demand(t) for t in (899, 900, 1050, 1950)] == [997, 100, 250, 250]


AFTER: tuple[Literal["hold"], Literal["loop"]] = ("hold", "loop")


@given(times=st.lists(st.floats(0, 5000), min_size=1, max_size=10), after=st.sampled_from(AFTER))
def test_replay_is_a_function_of_time(times: list[float], after: Literal["hold", "loop"]) -> None:
    """Asked in any order, a replay answers what a fresh replay answers."""
    asked = Replay(points, start=100, after=after)
    assert [asked.demand(t) for t in times] == [
        Replay(points, start=100, after=after).demand(t) for t in times
    ]


def test_only_what_is_needed_is_read() -> None:
    """A replay takes points from its trace as seconds pass, and opens it once while time rises."""
    trace = Counting()
    replay = Replay(trace)
    assert [replay.demand(300.0 * n) for n in range(50)] == list(range(50))
    assert trace.opened == 1
    assert trace.taken <= 52


def test_missing_hours_are_not_interpolated() -> None:
    """Over a gap longer than max_gap the last known value stands until the next sample."""
    replay = Replay(lambda: iter(((0.0, 100), (7200.0, 900))))
    assert [replay.demand(t) for t in (3600, 7199, 7200)] == [100, 100, 900]


def test_repeated_stamps_take_the_later_row() -> None:
    """Of two samples with one stamp the later counts, without dividing by zero."""
    assert Replay(lambda: iter(((0.0, 1), (0.0, 7), (300.0, 7)))).demand(0) == 7


def test_a_single_sample_is_a_constant() -> None:
    """A trace of one sample is held, looping or not."""
    assert Replay(lambda: iter(((0.0, 5),)), after="loop").demand(1000) == 5


def test_a_start_beyond_the_trace_names_the_end() -> None:
    """Starting after the end of the trace is refused with the second at which the trace ends."""
    with pytest.raises(TraceError, match=r"trace ends at 900.*start earlier"):
        Replay(points, start=901).demand(0)


def test_an_empty_trace_is_refused() -> None:
    """A trace without samples cannot be replayed."""
    with pytest.raises(TraceError, match="no samples"):
        Replay(lambda: iter(())).demand(0)


@pytest.mark.parametrize("key", ["start", "length", "speedup", "scale"])
def test_impossible_parameters_are_refused(key: str) -> None:
    """Negative windows and factors are refused at construction, by name."""
    with pytest.raises(ValueError, match=key):
        Replay(points, **{key: -1.0})  # type: ignore[arg-type]
