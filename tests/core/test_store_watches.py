"""Who is told of a change in xenstore."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hypervisor.core.steps import Caller
from hypervisor.core.store_watches import Watch, Watches, is_at_or_below

PATHS = st.sampled_from(("/", "/a", "/a/b", "/a/b/c", "/ab", "/a/c", "/d"))
CALLERS = st.builds(Caller, st.integers(0, 3), st.just(1))


@given(st.lists(st.builds(Watch, CALLERS, PATHS, st.just("t"))), PATHS, st.booleans())
def test_a_change_fires_the_watches_at_and_above_it_in_their_order(
    toggled: list[Watch], path: str, removed: bool
) -> None:
    """Found by path, they are those that looking at every one of them would find."""
    watches, expected = Watches(), list[Watch]()
    for watch in toggled:
        if watch in watches:
            watches.remove(watch)
            expected.remove(watch)
        else:
            watches.add(watch)
            expected.append(watch)
    assert list(watches) == expected
    assert list(watches.fired(path, removed)) == [
        one
        for one in expected
        if is_at_or_below(path, one.path) or (removed and is_at_or_below(one.path, path))
    ]
    for owner in {one.owner for one in toggled}:
        assert watches.count_of(owner) == sum(one.owner == owner for one in expected)
