"""The owner of every frame against a plain dictionary, and references to frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypervisor.core.heap.frames import FREE, FrameTable

CHUNK = 1 << 16
# 256 and 1 share a byte, as do FREE and 0x7FFF: a search by bytes meets them across two frames.
OWNERS = [FREE, 0, 1, 256, 257, 0x7FF2, 0xF47F]
BASES = [0, CHUNK - 40, 5 * CHUNK - 16, (1 << 32) - 64]

frames = st.builds(int.__add__, st.sampled_from(BASES), st.integers(0, 63))
moves = st.tuples(frames, st.sampled_from([0, 0, 0, 1, 3, 5]), st.sampled_from(OWNERS))


def runs(table: FrameTable, owner: int, limit: int) -> list[tuple[int, int]]:
    found = []
    cursor = 0
    while (run := table.next_run(owner, cursor, limit)) is not None:
        found.append(run)
        cursor = run[0] + run[1]
    return found


@given(st.lists(moves, max_size=40), st.integers(1, 20))
def test_owners_agree_with_a_dictionary(steps: list[tuple[int, int, int]], limit: int) -> None:
    """A block changes owner wholly or not at all, and counts and walks by owner show just its frames."""
    table = FrameTable()
    model: dict[int, int] = {}
    for mfn, order, owner in steps:
        expect = model.get(mfn, FREE)
        block = range(mfn, mfn + (1 << order))
        if all(model.get(frame, FREE) == expect for frame in block):
            table.set_owner(mfn, order, owner, expect)
            model.update(dict.fromkeys(block, owner))
        else:
            with pytest.raises(AssertionError):
                table.set_owner(mfn, order, owner, expect)
    owned = {mfn: owner for mfn, owner in model.items() if owner != FREE}
    assert all(table.owner(mfn) == owner for mfn, owner in model.items())
    assert table.owners() == sorted(set(owned.values()))
    for owner in OWNERS[1:]:
        held = sorted(mfn for mfn in owned if owned[mfn] == owner)
        assert table.held(owner) == len(held)
        walk = runs(table, owner, limit)
        assert [mfn for first, count in walk for mfn in range(first, first + count)] == held
        assert all(count <= limit for _, count in walk)
    again = FrameTable()
    for mfn in sorted(owned, reverse=True):
        again.set_owner(mfn, 0, owned[mfn], FREE)
    assert list(again.digest_parts()) == list(table.digest_parts())


def test_runs_are_as_long_as_they_can_be() -> None:
    """A run ends at its limit, at another owner's frame or at the end of a chunk, and nowhere else."""
    table = FrameTable()
    table.set_owner(CHUNK, 18, 7, FREE)
    table.set_owner(CHUNK + 1000, 0, 8, 7)
    assert table.next_run(7, 0, 1 << 18) == (CHUNK, 1000)
    assert table.next_run(7, CHUNK + 1000, 1 << 18) == (CHUNK + 1001, CHUNK - 1001)
    assert table.next_run(7, CHUNK + 300, 77) == (CHUNK + 300, 77)
    assert table.next_run(7, 5 * CHUNK - 1, 9) == (5 * CHUNK - 1, 1)
    assert table.next_run(7, 5 * CHUNK, 9) is None
    assert table.next_run(9, 0, 9) is None


def test_no_frame_is_owned_twice() -> None:
    """A block with one frame of another owner in it is refused whole, and the books stay as they were."""
    table = FrameTable()
    table.set_owner(512, 9, 3, FREE)
    before = list(table.digest_parts())
    for mfn, order in ((1023, 0), (512, 9), (0, 10), (0, 18)):
        with pytest.raises(AssertionError):
            table.set_owner(mfn, order, 4, FREE)
    assert list(table.digest_parts()) == before
    assert (table.held(3), table.held(4)) == (512, 0)
    table.set_owner(512, 9, FREE, 3)
    assert list(table.digest_parts()) == list(FrameTable().digest_parts())


@pytest.mark.rule("A11")
def test_a_referenced_frame_cannot_become_free() -> None:
    """A frame keeps its owner while references to it are left, also as part of a larger block."""
    table = FrameTable()
    table.set_owner(512, 9, 3, FREE)
    table.get_page(700)
    table.get_page(700)
    assert (table.references(700), table.references(701)) == (2, 0)
    assert table.referenced(512, 9) and table.referenced(700, 0) and not table.referenced(512, 7)
    assert table.put_page(700) == 1
    for mfn, order in ((700, 0), (512, 9)):
        with pytest.raises(AssertionError, match="referenced"):
            table.set_owner(mfn, order, FREE, 3)
    assert table.put_page(700) == 0
    table.set_owner(512, 9, FREE, 3)


def test_references_belong_to_owned_frames() -> None:
    """A reference to a frame nobody owns, and one dropped that was never taken, are our own bugs."""
    table = FrameTable()
    with pytest.raises(AssertionError):
        table.get_page(9)
    table.set_owner(9, 0, 3, FREE)
    with pytest.raises(AssertionError):
        table.put_page(9)
    bare = list(table.digest_parts())
    table.get_page(9)
    assert list(table.digest_parts()) != bare
