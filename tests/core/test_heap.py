"""The buddy heap against a naive model: a set of free frames, searched block by block."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hypervisor.core.heap.buddy import FrameHeap
from hypervisor.core.heap.interface import MAX_ORDER

Nodes = list[tuple[int, int]]

GIB = 1 << MAX_ORDER
# Odd sizes, adjoining and apart, in the wrong order, across a 1-GiB boundary, from frame 0 and far up.
SHAPES: list[Nodes] = [
    [(0, 64)],
    [(3, 37), (40, 21)],
    [(129, 15), (64, 65), (0, 1)],
    [(GIB - 5, 21), (2 * GIB - 16, 16), (2 * GIB, 8)],
    [((1 << 32) - 40, 40)],
]


def in_block(mfn: int, order: int) -> range:
    return range(mfn, mfn + (1 << order))


def blocks_in(free: set[int], first: int, pages: int, order: int) -> Iterator[int]:
    """Every aligned block of the node's frames that is wholly free, also within a larger one."""
    step = 1 << order
    for mfn in range((first + step - 1) & -step, first + pages - step + 1, step):
        if all(frame in free for frame in in_block(mfn, order)):
            yield mfn


def largest_blocks(free: set[int], nodes: Nodes) -> Iterator[tuple[int, int]]:
    """The free blocks after full merging: those whose buddy is not wholly free on the same node."""
    for first, pages in nodes:
        for order in range(pages.bit_length()):
            blocks = set(blocks_in(free, first, pages, order))
            yield from ((mfn, order) for mfn in sorted(blocks) if mfn ^ (1 << order) not in blocks)


def digest(heap: FrameHeap) -> bytes:
    return b"|".join(heap.digest_parts())


def heap_with_free(nodes: Nodes, free: set[int]) -> FrameHeap:
    """Another heap with these free frames, arrived at one page after the other in ascending order."""
    heap = FrameHeap(nodes)
    while heap.take(0, range(len(nodes))) is not None:
        pass
    for mfn in sorted(free):
        heap.give(mfn, 0)
    return heap


class HeapMachine(RuleBasedStateMachine):
    """Takes and gives at random; `remembered` is small, so that forgotten blocks must be found again."""

    @initialize(nodes=st.sampled_from(SHAPES), remembered=st.sampled_from([2, 8, 1 << 16]))
    def build(self, nodes: Nodes, remembered: int) -> None:
        self.nodes = nodes
        self.heap = FrameHeap(nodes, remembered=remembered)
        self.free = {mfn for first, pages in nodes for mfn in range(first, first + pages)}
        self.all = frozenset(self.free)
        self.taken: list[tuple[int, int]] = []

    @rule(order=st.integers(0, 6), data=st.data())
    def take(self, order: int, data: st.DataObject) -> None:
        numbers = data.draw(st.lists(st.integers(0, len(self.nodes) - 1), max_size=3))
        below = data.draw(st.none() | st.sampled_from(sorted(self.all)))
        mfn = self.heap.take(order, numbers, below)
        limit = 1 << 32 if below is None else below
        able = [n for n in numbers if self.has_block(n, order, limit)]
        assert (mfn is None) == (not able)
        if mfn is not None:
            assert mfn % (1 << order) == 0 and mfn + (1 << order) <= limit
            assert self.heap.node_of(mfn) == able[0]
            assert self.free.issuperset(in_block(mfn, order))
            self.free.difference_update(in_block(mfn, order))
            self.taken.append((mfn, order))

    @rule(order=st.integers(0, 3), count=st.integers(1, 100))
    def take_many(self, order: int, count: int) -> None:
        for _ in range(count):
            mfn = self.heap.take(order, range(len(self.nodes)))
            if mfn is None:
                break
            self.free.difference_update(in_block(mfn, order))
            self.taken.append((mfn, order))

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), part=st.integers(0, 6))
    def give(self, data: st.DataObject, part: int) -> None:
        """Give a taken block back, whole or in smaller parts."""
        at = data.draw(st.integers(0, len(self.taken) - 1))
        self.give_back(self.taken.pop(at), part)

    @rule(stride=st.integers(1, 3))
    def give_many(self, stride: int) -> None:
        given = self.taken[::stride]
        del self.taken[::stride]
        for block in given:
            self.give_back(block, MAX_ORDER)

    @precondition(lambda self: self.free)
    @rule(data=st.data(), order=st.integers(0, 3))
    def give_what_is_free(self, data: st.DataObject, order: int) -> None:
        mfn = data.draw(st.sampled_from(sorted(self.free))) & -(1 << order)
        before = digest(self.heap)
        with pytest.raises(AssertionError):
            self.heap.give(mfn, order)
        assert digest(self.heap) == before

    @invariant()
    def books_balance(self) -> None:
        assert self.heap.total_pages == len(self.all)
        assert self.heap.total_avail == len(self.free)
        for number, (first, pages) in enumerate(self.nodes):
            node = sum(mfn in self.free for mfn in range(first, first + pages))
            assert self.heap.node_avail(number) == node

    @invariant()
    def all_merged(self) -> None:
        expected = sorted(largest_blocks(self.free, self.nodes))
        assert sorted(self.heap.free_blocks()) == expected
        assert self.heap.largest_free_order() == max((order for _, order in expected), default=-1)

    def teardown(self) -> None:
        if not hasattr(self, "heap"):
            return
        assert digest(self.heap) == digest(heap_with_free(self.nodes, self.free))
        for block in self.taken:
            self.give_back(block, MAX_ORDER)
        assert digest(self.heap) == digest(FrameHeap(self.nodes))
        assert list(self.heap.free_blocks()) == list(FrameHeap(self.nodes).free_blocks())

    def has_block(self, number: int, order: int, limit: int) -> bool:
        first, pages = self.nodes[number]
        return any(mfn + (1 << order) <= limit for mfn in blocks_in(self.free, first, pages, order))

    def give_back(self, block: tuple[int, int], part: int) -> None:
        mfn, order = block
        part = min(part, order)
        for piece in range(mfn, mfn + (1 << order), 1 << part):
            self.heap.give(piece, part)
        self.free.update(in_block(mfn, order))


@pytest.mark.rule("A18", "A19", "A23", "A24")
def test_heap_agrees_with_a_set_of_frames() -> None:
    """The heap refuses just when no aligned free block exists, merges fully, and digests by content alone."""
    run_state_machine_as_test(HeapMachine, settings=settings(max_examples=150, stateful_step_count=40))


@pytest.mark.rule("A24")
def test_every_second_page_free_refuses_order_1() -> None:
    """With every second page free half the heap is available and order 1 cannot be had."""
    heap = FrameHeap([(0, 2 * GIB)])
    while heap.take(9, [0]) is not None:
        pass
    for mfn in range(0, 2 * GIB, 2):
        heap.give(mfn, 0)
    assert heap.total_avail == GIB
    assert heap.largest_free_order() == 0
    assert heap.take(1, [0]) is None
    # Each can still be had, the many that no list remembers included, and none comes twice.
    assert {heap.take(0, [0]) for _ in range(GIB)} == set(range(0, 2 * GIB, 2))
    assert heap.take(0, [0]) is None and heap.total_avail == 0


@pytest.mark.rule("A19", "A20", "A21")
def test_nodes_are_tried_in_the_order_given() -> None:
    """A block comes from the first node named that has one, and from no node that is not named."""
    heap = FrameHeap([(0, 8), (8, 8)])
    assert heap.node_of(heap.take(3, [1, 0]) or 0) == 1
    assert heap.take(0, [1]) is None
    assert heap.node_of(heap.take(0, [1, 0]) or 0) == 0
    assert heap.take(0, []) is None
    assert (heap.node_avail(0), heap.node_avail(1), heap.total_avail) == (7, 0, 7)


@pytest.mark.rule("A23")
def test_buddies_on_two_nodes_do_not_merge() -> None:
    """Two free buddies on different nodes stay two blocks."""
    heap = FrameHeap([(0, 4), (4, 4)])
    assert list(heap.free_blocks()) == [(0, 2), (4, 2)]
    assert heap.take(3, [0, 1]) is None
    assert {heap.take(2, [0]), heap.take(2, [1])} == {0, 4}
    with pytest.raises(AssertionError):
        heap.give(0, 3)


@pytest.mark.rule("A19")
def test_single_pages_of_a_fresh_heap_are_contiguous() -> None:
    """Single pages taken one after the other from a fresh heap descend without a gap, over 1-GiB borders."""
    heap = FrameHeap([(0, 3 * GIB)])
    pages = [heap.take(0, [0]) for _ in range(GIB + 1000)]
    assert pages == list(range(3 * GIB - 1, 2 * GIB - 1001, -1))


def test_last_page_given_is_taken_first() -> None:
    """Single free pages come back last in, first out."""
    heap = FrameHeap([(0, 1024)])
    pages = [heap.take(0, [0]) for _ in range(1024)]
    given = [mfn for mfn in pages if mfn is not None and mfn % 3 == 0]
    for mfn in given:
        heap.give(mfn, 0)
    assert [heap.take(0, [0]) for _ in given] == given[::-1]


def test_forgotten_pages_are_found_again() -> None:
    """Past the length of a list the newest pages still come first, then the others, each once."""
    heap = FrameHeap([(0, 4096)], remembered=16)
    while heap.take(0, [0]) is not None:
        pass
    for mfn in range(4095, 0, -2):
        heap.give(mfn, 0)
    pages = [heap.take(0, [0]) for _ in range(2048)]
    assert pages[:8] == list(range(1, 17, 2))
    assert set(pages) == set(range(1, 4096, 2))


@pytest.mark.rule("A1")
def test_width_limit_splits_a_block_that_reaches_over_it() -> None:
    """Under a width limit the highest fitting pages of a larger block are used and the rest stays free."""
    heap = FrameHeap([(0, 64)])
    assert heap.take(1, [0], below=37) == 34
    assert heap.take(0, [0], below=34) == 33
    assert heap.take(6, [0], below=64) is None
    assert heap.take(0, [0], below=0) is None
    assert heap.total_avail == 61
    assert [heap.take(0, [0], below=limit) for limit in (2, 1, 1)] == [1, 0, None]


@pytest.mark.rule("A23")
def test_a_gib_is_taken_and_given_whole_or_in_parts() -> None:
    """A 1-GiB block can be freed as 2-MiB and 4-KiB parts in any order and becomes a 1-GiB block again."""
    heap = FrameHeap([(0, GIB + 7)])
    fresh = digest(heap)
    assert heap.take(MAX_ORDER, [0]) == 0
    assert heap.take(MAX_ORDER, [0]) is None
    for mfn in range(512, GIB, 512):
        heap.give(mfn, 9)
    for mfn in reversed(range(512)):
        heap.give(mfn, 0)
    assert digest(heap) == fresh
    assert heap.largest_free_order() == MAX_ORDER


@pytest.mark.parametrize(
    ("mfn", "order"), [(7, 0), (20, 0), (10, 1), (9, 1), (16, 3), (1 << 40, 0), (8, 4), (19, 0), (13, 1)]
)
def test_giving_what_was_not_taken_is_our_bug(mfn: int, order: int) -> None:
    """A free page, a misaligned block, a gap, another node's page: each give fails and changes nothing."""
    heap = FrameHeap([(8, 11), (24, 8)])
    assert heap.take(3, [0]) == 8
    heap.give(10, 0)
    before = digest(heap)
    with pytest.raises(AssertionError):
        heap.give(mfn, order)
    assert digest(heap) == before
    assert heap.total_avail == 12


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        ([], "at least one node"),
        ([(0, 0)], "pages > 0"),
        ([(-1, 4)], "pages > 0"),
        ([((1 << 32) - 1, 2)], r"below 2\^32"),
        ([(8, 8), (0, 9)], "overlaps"),
    ],
)
def test_impossible_nodes_are_refused(nodes: Nodes, complaint: str) -> None:
    """Ranges without pages, over each other or beyond 32 bits are named in one line."""
    with pytest.raises(ValueError, match=complaint):
        FrameHeap(nodes)
