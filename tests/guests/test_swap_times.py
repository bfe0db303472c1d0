"""When a guest swapped: nothing is lost, and the report stays small however long it lives."""

from __future__ import annotations

from guests.kernel.swap_times import MOST, SwapTimes


def test_times_are_kept_to_the_second() -> None:
    """Pages swapped within one second are one interval, in the order of time."""
    times = SwapTimes()
    times.add(3.2, out=5)
    times.add(3.9, out=2, back=1)
    times.add(1.0, back=0)
    times.add(1.5, out=4)
    found = [(one.start_s, one.seconds, one.out, one.back) for one in times.intervals()]
    assert found == [(1.0, 1.0, 4, 0), (3.0, 1.0, 7, 1)]


def test_a_long_life_has_longer_intervals_and_the_same_sums() -> None:
    """After a thousand seconds there are no more than `MOST` intervals, and every page is in one."""
    times = SwapTimes()
    for second in range(1000):
        times.add(second + 0.5, out=1, back=2)
    found = times.intervals()
    assert len(found) <= MOST
    assert (sum(one.out for one in found), sum(one.back for one in found)) == (1000, 2000)
    assert [one.start_s for one in found] == [n * found[0].seconds for n in range(len(found))]
