"""Where extents come from: nodes, fragmentation, merging (A7, A18-A24)."""

from __future__ import annotations

import pytest

from hypervisor.public.memory import (
    MEMF_EXACT_NODE,
    DecreaseReservation,
    IncreaseReservation,
    memf_exact_node,
)
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)
NODES = (1024, 1024)


@every_release
@pytest.mark.rule("A20")
def test_an_exact_node_is_that_node_or_nothing(name: str) -> None:
    """With the exact flag the extents stop when the node is empty, whatever the others hold."""
    bench = SmallHost(name, nodes=NODES)
    guest = bench.create()
    on_one = bench.host.heap.node_avail(1)
    assert bench.ret(IncreaseReservation(guest.domid, 3000, 0, memf_exact_node(1))) == on_one
    assert bench.host.heap.node_avail(1) == 0
    assert bench.free == bench.host.heap.node_avail(0) > 0
    assert bench.ret(IncreaseReservation(guest.domid, 1, 0, memf_exact_node(7))) == 0


@every_release
@pytest.mark.rule("A20", "A21")
def test_a_preferred_node_is_a_preference(name: str) -> None:
    """Another node serves when the preferred one is empty; the exact flag without a node is dropped."""
    bench = SmallHost(name, nodes=NODES)
    guest = bench.create()
    on_one, free = bench.host.heap.node_avail(1), bench.free
    assert bench.ret(IncreaseReservation(guest.domid, on_one, 0, 2 << 8)) == on_one
    assert bench.host.heap.node_avail(1) == 0
    assert bench.ret(IncreaseReservation(guest.domid, 5, 0, 2 << 8)) == 5
    assert bench.ret(IncreaseReservation(guest.domid, 5, 0, MEMF_EXACT_NODE)) == 5
    assert bench.ret(IncreaseReservation(guest.domid, 5, 0, MEMF_EXACT_NODE), guest) == 5
    assert bench.free == free - on_one - 15


@every_release
@pytest.mark.rule("A7", "A3")
def test_a_guest_names_no_node_since_4_5(name: str) -> None:
    """A guest's hint is ignored and its exact node stops the call, since 4.5; in 4.3 both are obeyed."""
    bench = SmallHost(name, nodes=NODES)
    guest = bench.create()
    before = bench.host.heap.node_avail(1)
    assert bench.ret(IncreaseReservation(guest.domid, 4, 0, memf_exact_node(1)), guest) == (
        4 if name == "4.3" else 0
    )
    assert before - bench.host.heap.node_avail(1) == (4 if name == "4.3" else 0)
    assert bench.ret(IncreaseReservation(guest.domid, 4, 0, 1 << 8), guest) == 4


@every_release
@pytest.mark.rule("A18", "A22")
def test_extents_of_one_domain_go_round_the_nodes(name: str) -> None:
    """Without a node the next one after the last used is tried first."""
    bench = SmallHost(name, nodes=NODES)
    guest = bench.create()
    before = [bench.host.heap.node_avail(node) for node in (0, 1)]
    assert bench.grow(guest, 10) == 10
    assert [before[node] - bench.host.heap.node_avail(node) for node in (0, 1)] == [5, 5]


@every_release
@pytest.mark.rule("n01", "C15", "C17")
def test_claims_are_host_wide(name: str) -> None:
    """While a claim stands others may use up any one node."""
    bench = SmallHost(name, nodes=NODES)
    claimant, other = bench.create(), bench.create()
    on_one = bench.host.heap.node_avail(1)
    assert bench.claim(claimant, bench.free - on_one) == 0
    assert bench.ret(IncreaseReservation(other.domid, on_one, 0, memf_exact_node(1))) == on_one
    assert bench.host.heap.node_avail(1) == 0
    assert bench.ret(IncreaseReservation(claimant.domid, 1, 0, memf_exact_node(1))) == 0
    assert bench.grow(other, 1) == 0


@every_release
@pytest.mark.rule("C18", "A24", "A23")
def test_fragmentation_fails_large_extents_and_merging_heals_it(name: str) -> None:
    """With every second page free no order-1 extent is had; when the others come back order 9 is."""
    bench = SmallHost(name)
    guest, other = bench.create(), bench.create()
    assert bench.grow(guest, 2048) == 2048
    bench.leave_free(0)
    frames = bench.frames_of(guest)
    assert bench.ret(DecreaseReservation(guest.domid, singles(frames[::2]))) == 1024
    assert bench.free == 1024
    assert bench.grow(other, 2, order=1) == 0
    assert bench.claim(other, 1024) == 0  # C16: a claim looks at no order
    assert bench.grow(other, 512, order=9) == 0
    assert bench.claim(other, 0) == 0
    assert bench.ret(DecreaseReservation(guest.domid, singles(frames[1::2]))) == 1024
    assert bench.host.heap.largest_free_order() >= 9
    assert bench.grow(other, 1024, order=9) == 2
