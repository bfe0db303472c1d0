"""Which frames a guest owns and which are in its balloon, as run lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guests.kernel.frames import FrameStack, PageNames, split_runs
from hypervisor.public.units import Runs, runs_length

RUNS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 50)), max_size=8).map(tuple)


def frames_of(runs: Runs) -> list[int]:
    return [frame for first, count in runs for frame in range(first, first + count)]


@given(RUNS, st.integers(0, 500))
def test_split_runs_cuts_after_so_many_frames(runs: Runs, extents: int) -> None:
    """Head and tail are the list, in order; the head has `extents` frames if there are as many."""
    head, tail = split_runs(runs, extents)
    assert frames_of(head) + frames_of(tail) == frames_of(runs)
    assert runs_length(head) == min(extents, runs_length(runs))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 300)), max_size=40))
def test_no_frame_is_lost_or_doubled(moves: list[tuple[bool, bool, int]]) -> None:
    """Whatever is ballooned, refused or populated, every gfn is either owned or in the balloon, once."""
    names = PageNames("hvm", ((0, 600),), 1000)
    for grow, refused, pages in moves:
        if not grow:
            gfns, named = names.take_owned(pages)
            assert gfns == named
            names.put_ballooned(gfns)
        elif refused:
            names.put_refused(names.take_ballooned(pages))
        else:
            names.put_populated(names.take_ballooned(pages), ())
        assert names.owned + names.ballooned == 1000
    owned, ballooned = names.take_owned(1000)[0], names.take_ballooned(1000)
    assert sorted(frames_of(owned) + frames_of(ballooned)) == list(range(1000))


def test_a_balloon_that_goes_up_and_down_keeps_few_runs() -> None:
    """Taking and putting back at the same end joins the runs again, so the lists stay short."""
    stack, balloon = FrameStack(((0, 100_000),)), FrameStack(((100_000, 50_000),))
    for swing in range(1, 200):
        for _ in range(swing % 7):
            balloon.push(stack.take_high(512))
        for _ in range(swing % 5):
            stack.push(balloon.take_low(512))
    assert (len(stack.runs), len(balloon.runs)) == (1, 1)


def test_a_guest_with_a_hole_balloons_above_its_highest_frame() -> None:
    """Frames in the balloon are those above the highest owned one, as many as static-max leaves."""
    names = PageNames("hvm", ((0, 160), (192, 800)), 2000)
    assert names.take_ballooned(5000) == ((992, 1040),)


def test_a_pv_guest_names_mfns_when_giving_and_gfns_when_taking() -> None:
    """A PV guest's gfns stay 0..static_max-1 whatever its mfns are."""
    names = PageNames("pv", ((7000, 10), (9000, 10)), 30)
    gfns, mfns = names.take_owned(12)
    assert (gfns, mfns) == (((8, 12),), ((9000, 10), (7008, 2)))
    names.put_ballooned(gfns)
    assert names.take_ballooned(22) == ((8, 22),)
