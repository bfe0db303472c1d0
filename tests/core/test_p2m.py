"""The gfn to mfn map against a plain dictionary, with superpages split and replaced."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from hypervisor.core.heap.p2m import PhysMap

MIB2 = 512
GIB = 1 << 18

# Regions of 2 MiB next to each other, below and above a 1-GiB border, and near 2^40.
gfns = st.builds(
    int.__add__,
    st.sampled_from([0, MIB2, GIB - 2 * MIB2, GIB, (1 << 40) - 2 * MIB2]),
    st.one_of(st.sampled_from([0, 1, 8, MIB2]), st.integers(0, MIB2)),
)
mfns = st.builds(int.__add__, st.sampled_from([0, MIB2, 5 * GIB]), st.sampled_from([0, 0, 1, 8]))
orders = st.sampled_from([0, 0, 0, 1, 3, 8, 9, 9, 10])


class MapMachine(RuleBasedStateMachine):
    """Maps, replaces and removes at random."""

    def __init__(self) -> None:
        super().__init__()
        self.map = PhysMap()
        self.model: dict[int, int] = {}
        self.highest = 0

    @rule(gfn=gfns, mfn=mfns, order=orders)
    def put(self, gfn: int, mfn: int, order: int) -> None:
        self.map.map(gfn, mfn, order)
        self.model.update((gfn + page, mfn + page) for page in range(1 << order))
        self.highest = max(self.highest, gfn + (1 << order) - 1)

    @rule(gfn=gfns)
    def remove(self, gfn: int) -> None:
        assert self.map.unmap(gfn) == self.model.pop(gfn, None)

    @rule(gfn=gfns, order=orders)
    def remove_extent(self, gfn: int, order: int) -> None:
        blocks, pages = self.map.unmap_extent(gfn, order)
        expected = []
        for page in range(gfn, gfn + (1 << order)):
            if page not in self.model:
                break
            expected.append(self.model.pop(page))
        assert [mfn for first, part in blocks for mfn in range(first, first + (1 << part))] == expected
        assert pages == len(expected)
        assert all(first % (1 << part) == 0 for first, part in blocks)

    @rule(gfn=gfns)
    def look(self, gfn: int) -> None:
        assert self.map.lookup(gfn) == self.model.get(gfn)

    @invariant()
    def agrees(self) -> None:
        seen = {gfn + page: mfn + page for gfn, mfn, order in self.map.leaves() for page in range(1 << order)}
        assert seen == self.model
        assert self.map.entries == len(self.model)
        assert self.map.highest_gfn == self.highest
        assert self.map.tables <= len(self.model)


def test_map_agrees_with_a_dictionary() -> None:
    """Every gfn maps what was last mapped there, whatever superpages were made, split or replaced."""
    run_state_machine_as_test(MapMachine, settings=settings(max_examples=100, stateful_step_count=30))


def test_aligned_superpages_come_out_as_one_block() -> None:
    """An extent within one superpage leaves as one block, and only what it takes is split off."""
    p2m = PhysMap()
    p2m.map(0, 4 * GIB, 18)
    p2m.map(GIB, 7 * MIB2, 9)
    assert p2m.unmap_extent(GIB, 9) == ([(7 * MIB2, 9)], 512)
    assert p2m.unmap_extent(2 * MIB2, 10) == ([(4 * GIB + 2 * MIB2, 10)], 1024)
    assert p2m.unmap_extent(8, 3) == ([(4 * GIB + 8, 3)], 8)
    assert p2m.unmap_extent(7, 0) == ([(4 * GIB + 7, 0)], 1)
    assert p2m.entries == GIB - 1024 - 9
    assert p2m.tables == 1
    p2m.map(0, 9 * GIB, 18)
    assert (p2m.entries, p2m.tables) == (GIB, 0)
    assert p2m.unmap_extent(0, 18) == ([(9 * GIB, 18)], GIB)
    assert (p2m.entries, p2m.highest_gfn) == (0, GIB + 511)


def test_superpages_replace_superpages() -> None:
    """A leaf put over a larger, an equal or many smaller ones replaces just what it covers."""
    p2m = PhysMap()
    p2m.map(0, GIB, 18)
    p2m.map(0, 2 * GIB, 18)
    p2m.map(MIB2, 7 * GIB, 9)
    assert p2m.entries == GIB
    assert [p2m.lookup(gfn) for gfn in (MIB2 - 1, MIB2, 2 * MIB2)] == [
        2 * GIB + MIB2 - 1,
        7 * GIB,
        2 * GIB + 2 * MIB2,
    ]
    assert p2m.unmap_extent(0, 18).pages == GIB
    assert (p2m.entries, list(p2m.leaves())) == (0, [])


def test_mapped_gfns_descend_and_may_be_unmapped_on_the_way() -> None:
    """The gfns below an end come highest first, whatever leaf maps them, also while each is unmapped."""
    p2m = PhysMap()
    p2m.map(GIB, 4 * GIB, 18)
    p2m.map(4 * MIB2, 7 * MIB2, 9)
    p2m.map(5 * MIB2 + 9, 3, 0)
    p2m.map(1 << 35, 5, 0)
    end = GIB + MIB2 + 2
    every = [*range(4 * MIB2, 5 * MIB2), 5 * MIB2 + 9, *range(GIB, end)][::-1]
    assert list(p2m.mapped_below(end)) == every
    assert all(p2m.unmap(gfn) is not None for gfn in p2m.mapped_below(end))
    assert list(p2m.mapped_below(end)) == []
    assert p2m.entries == GIB - MIB2 - 2 + 1
    assert list(p2m.mapped_below(5 * MIB2)) == list(p2m.mapped_below(0)) == []


def test_a_misaligned_extent_comes_out_in_aligned_blocks() -> None:
    """What is removed of a superpage from the middle on comes out as the largest aligned blocks."""
    p2m = PhysMap()
    p2m.map(0, GIB, 9)
    assert p2m.unmap_extent(3, 3) == ([(GIB + 3, 0), (GIB + 4, 2), (GIB + 8, 1), (GIB + 10, 0)], 8)
    assert p2m.entries == 504


def test_memory_follows_what_is_mapped() -> None:
    """However high its gfns, a map costs one table for each 2 MiB it has pages in, and none when empty."""
    p2m = PhysMap()
    for gfn in (0, 1 << 39, (1 << 40) - 1, (1 << 40) - 2):
        p2m.map(gfn, 9, 0)
    assert (p2m.tables, p2m.entries, p2m.highest_gfn) == (3, 4, (1 << 40) - 1)
    for gfn in (0, 1 << 39, (1 << 40) - 1, (1 << 40) - 2):
        assert p2m.unmap(gfn) == 9
    assert (p2m.tables, p2m.entries, p2m.highest_gfn) == (0, 0, (1 << 40) - 1)


@pytest.mark.rule("A11")
def test_removal_stops_at_the_first_hole() -> None:
    """An extent with a hole loses the pages before the hole and keeps those behind it."""
    p2m = PhysMap()
    for page in range(8):
        p2m.map(page, 100 - page, 0)
    assert p2m.unmap(3) == 97
    assert p2m.unmap(3) is None
    assert p2m.unmap_extent(0, 3) == ([(100, 0), (99, 0), (98, 0)], 3)
    assert p2m.unmap_extent(0, 3) == ([], 0)
    assert [p2m.lookup(page) for page in range(3, 6)] == [None, 96, 95]


def test_a_page_in_the_middle_of_a_gib_splits_it() -> None:
    """Replacing one page of a 1-GiB leaf costs one table and leaves the other pages as they were."""
    p2m = PhysMap()
    p2m.map(0, GIB, 18)
    p2m.map(1000, 5, 0)
    assert (p2m.entries, p2m.tables) == (GIB, 1)
    assert [p2m.lookup(gfn) for gfn in (0, 999, 1000, 1001, GIB - 1, GIB)] == [
        GIB,
        GIB + 999,
        5,
        GIB + 1001,
        2 * GIB - 1,
        None,
    ]
    assert p2m.unmap_extent(0, 18).pages == GIB
    assert p2m.entries == 0


def test_superpages_need_both_sides_aligned() -> None:
    """A misaligned gfn or mfn is mapped by smaller leaves, and the pages are right all the same."""
    p2m = PhysMap()
    p2m.map(MIB2, 1, 9)
    p2m.map(GIB + 1, 3 * GIB + 1, 10)
    assert [order for _, _, order in p2m.leaves()].count(9) == 1
    assert p2m.lookup(2 * MIB2 - 1) == 512
    assert p2m.lookup(GIB + 1024) == 3 * GIB + 1024
    assert p2m.entries == 512 + 1024


def test_digest_follows_content() -> None:
    """Equal maps digest equally; a page moved, removed or split off changes the digest."""
    first, second = PhysMap(), PhysMap()
    for p2m, gfn_list in ((first, (5, MIB2 + 5)), (second, (MIB2 + 5, 5))):
        p2m.map(GIB, GIB, 18)
        for gfn in gfn_list:
            p2m.map(gfn, gfn + 1, 0)
    assert list(first.digest_parts()) == list(second.digest_parts())
    second.map(5, 77, 0)
    assert list(first.digest_parts()) != list(second.digest_parts())
