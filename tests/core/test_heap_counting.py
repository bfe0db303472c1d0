"""The heap that only counts: exact between two sayings of a recording, and refusing where one refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypervisor.core.heap.counting import CountingHeap
from hypervisor.core.heap.interface import MAX_ORDER


@given(st.lists(st.tuples(st.booleans(), st.integers(0, MAX_ORDER), st.integers(0, 3)), max_size=60))
def test_counts_are_exact_and_frames_never_overlap(steps: list[tuple[bool, int, int]]) -> None:
    """Blocks are aligned and disjoint, the count is exact, and only a lack of pages refuses."""
    heap = CountingHeap(1 << 20, 1 << 19)
    taken: list[tuple[int, int]] = []
    for give, order, parts in steps:
        before = heap.total_avail
        if give and taken:
            mfn, held = taken.pop(len(taken) // 2)
            part = max(held - parts, 0)
            for piece in range(mfn, mfn + (1 << held), 1 << part):
                heap.give(piece, part)
            assert heap.total_avail == before + (1 << held)
            continue
        mfn_or_none = heap.take(order, [0])
        assert (mfn_or_none is None) == (1 << order > before)
        if mfn_or_none is not None:
            assert mfn_or_none % (1 << order) == 0
            assert heap.total_avail == before - (1 << order)
            taken.append((mfn_or_none, order))
    ends = sorted((mfn, mfn + (1 << order)) for mfn, order in taken)
    assert all(end <= start for (_, end), (start, _) in pairwise(ends))


@pytest.mark.rule("C18")
def test_a_told_refusal_happens_once_after_that_many_blocks() -> None:
    """With two blocks until refusal two takes succeed, and only the third fails though pages are free."""
    heap = CountingHeap(4096, 4096)
    heap.blocks_until_refusal = 2
    assert heap.take(9, [0]) is not None
    assert heap.take(9, [0]) is not None
    assert heap.take(9, [0]) is None
    assert heap.blocks_until_refusal is None
    assert heap.total_avail == 4096 - 1024
    assert heap.take(9, [0]) is not None


def test_a_take_without_enough_pages_does_not_use_up_a_told_refusal() -> None:
    """A take refused for want of pages is none of the blocks until refusal."""
    heap = CountingHeap(4096, 1)
    heap.blocks_until_refusal = 1
    assert heap.take(9, [0]) is None
    assert heap.blocks_until_refusal == 1
    assert heap.take(0, [0]) is not None
    assert heap.largest_free_order() == -1


def test_free_pages_follow_the_recording() -> None:
    """Setting total_avail changes what can be taken, what is reported and the digest."""
    heap = CountingHeap(1 << 20, 10)
    before = list(heap.digest_parts())
    assert heap.take(9, [0]) is None
    heap.total_avail = 1 << 19
    assert list(heap.digest_parts()) != before
    assert heap.largest_free_order() == MAX_ORDER
    assert (heap.node_avail(0), heap.node_avail(1), heap.node_of(77)) == (1 << 19, 0, 0)
    mfn = heap.take(9, [0])
    assert mfn is not None
    heap.give(mfn, 9)
    assert heap.take(9, [0]) == mfn
    heap.give(mfn, 9)
    assert list(heap.free_blocks()) == [(mfn, 9)]
