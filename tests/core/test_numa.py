"""Node affinity, virtual nodes and what numainfo tells (rules A3, A7, A18 to A22)."""

from __future__ import annotations

import pytest

from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    MEMF_EXACT_NODE,
    MEMF_NODE_SHIFT,
    MEMF_VNODE,
    IncreaseReservation,
    PopulatePhysmap,
)
from hypervisor.public.numa import NO_VNUMA_NODE, ClaimMemory, Numainfo, SetNodeAffinity, SetVnumaInfo
from tests.core.numa_host import NumaHost
from tests.core.small_host import EVERY_RELEASE

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)
WITH_VNUMA = tuple(name for name in EVERY_RELEASE if name != "4.3")
THREE = (512, 512, 512)
EVERY_NODE = (1 << 64) - 1


def taken(bench: NumaHost, before: list[int]) -> list[int]:
    """Pages gone from each node."""
    return [free - bench.node_free(node) for node, free in enumerate(before)]


def free_by_node(bench: NumaHost) -> list[int]:
    return [bench.node_free(node) for node in range(bench.host.heap.node_count)]


@every_release
@pytest.mark.rule("A18", "A21", "A22")
def test_extents_go_round_the_nodes_of_the_affinity(name: str) -> None:
    """Extents come in turn from the nodes that the domain is affine to, from others when those are empty."""
    bench = NumaHost(name, THREE)
    guest = bench.create()
    assert bench.ret(SetNodeAffinity(guest.domid, 0b101)) == 0
    before = free_by_node(bench)
    assert bench.grow(guest, 20) == 20
    assert taken(bench, before) == [10, 0, 10]
    rest = bench.node_free(0) + bench.node_free(2)
    assert bench.grow(guest, rest) == rest
    assert bench.node_free(1) == before[1]
    assert bench.grow(guest, 5) == 5
    assert taken(bench, before) == [before[0], 5, before[2]]


@every_release
@pytest.mark.rule("A18", "A21")
def test_a_named_node_comes_before_the_affinity(name: str) -> None:
    """A hint is obeyed although the node is outside the mask; then the mask, then the rest."""
    bench = NumaHost(name, THREE)
    guest = bench.create()
    assert bench.ret(SetNodeAffinity(guest.domid, 0b001)) == 0
    before = free_by_node(bench)
    on_two = before[2] + 7
    assert bench.ret(IncreaseReservation(guest.domid, on_two, 0, 3 << MEMF_NODE_SHIFT)) == on_two
    assert taken(bench, before) == [7, 0, before[2]]


@every_release
@pytest.mark.rule("A18")
def test_an_affinity_must_meet_the_host_and_all_nodes_are_none(name: str) -> None:
    """No online node is EINVAL, absent nodes in the mask are passed over, a full mask resets it."""
    bench = NumaHost(name, THREE)
    guest = bench.create()
    assert bench.ret(SetNodeAffinity(guest.domid, 0b1010)) == 0
    assert bench.domain(guest.domid).node_affinity == (1,)
    assert bench.ret(SetNodeAffinity(guest.domid, 0)) == -Errno.EINVAL
    assert bench.ret(SetNodeAffinity(guest.domid, 0b1000)) == -Errno.EINVAL
    assert bench.ret(SetNodeAffinity(77, 1)) == -Errno.ESRCH
    assert bench.ret(SetNodeAffinity(guest.domid, 1), guest) == -Errno.EPERM
    assert bench.domain(guest.domid).node_affinity == (1,)
    assert bench.ret(SetNodeAffinity(guest.domid, EVERY_NODE)) == 0
    assert bench.domain(guest.domid).node_affinity == (0, 1, 2)


@pytest.mark.parametrize("name", WITH_VNUMA)
@pytest.mark.rule("A3", "A7")
def test_a_virtual_node_stands_for_a_real_one(name: str) -> None:
    """With the vnode flag a guest itself may ask for a node, by its own number, even for it alone."""
    bench = NumaHost(name, THREE)
    guest = bench.create(hvm=True)
    table = (2, 0, NO_VNUMA_NODE)
    assert bench.ret(SetVnumaInfo(guest.domid, table)) == 0
    before = free_by_node(bench)
    for vnode, caller in ((0, guest), (1, guest)):
        flags = (vnode + 1) << MEMF_NODE_SHIFT | MEMF_VNODE | MEMF_EXACT_NODE
        assert bench.ret(PopulatePhysmap(guest.domid, ((vnode * 10, 10),), 0, flags), caller) == 10
    assert taken(bench, before) == [10, 0, 10]
    anywhere = 3 << MEMF_NODE_SHIFT | MEMF_VNODE | MEMF_EXACT_NODE
    assert bench.ret(IncreaseReservation(guest.domid, 3, 0, anywhere), guest) == 3
    assert taken(bench, before) == [11, 1, 11]


@pytest.mark.parametrize("name", WITH_VNUMA)
@pytest.mark.rule("A3", "A7")
def test_a_bad_virtual_node_ends_the_call(name: str) -> None:
    """Beyond the table, or none named at all: 0 extents done. Without a table the flag means nothing."""
    bench = NumaHost(name, THREE)
    guest = bench.create()
    asked = IncreaseReservation(guest.domid, 1, 0, 3 << MEMF_NODE_SHIFT | MEMF_VNODE | MEMF_EXACT_NODE)
    assert bench.ret(asked, guest) == 1
    assert bench.ret(SetVnumaInfo(guest.domid, (0, 1))) == 0
    assert bench.ret(asked, guest) == 0
    assert bench.ret(IncreaseReservation(guest.domid, 1, 0, MEMF_VNODE), guest) == 0
    assert bench.ret(SetVnumaInfo(guest.domid, ())) == -Errno.EINVAL
    assert bench.ret(SetVnumaInfo(guest.domid, (0, 64))) == -Errno.EINVAL
    assert bench.ret(SetVnumaInfo(77, (0,))) == -Errno.ESRCH
    assert bench.ret(SetVnumaInfo(guest.domid, (0,)), guest) == -Errno.EPERM
    # A node that the host has not: Xen takes the table and no extent is to be had there
    assert bench.ret(SetVnumaInfo(guest.domid, (63,))) == 0
    flags = 1 << MEMF_NODE_SHIFT | MEMF_VNODE
    assert bench.ret(IncreaseReservation(guest.domid, 1, 0, flags | MEMF_EXACT_NODE), guest) == 0
    assert bench.ret(IncreaseReservation(guest.domid, 1, 0, flags), guest) == 1


@pytest.mark.rule("A3", "A7")
def test_4_3_knows_no_virtual_nodes() -> None:
    """The domctl is absent and the flag is a bit that nobody looks at."""
    bench = NumaHost("4.3", THREE)
    guest = bench.create()
    assert bench.ret(SetVnumaInfo(guest.domid, (2,))) == -Errno.ENOSYS
    before = free_by_node(bench)
    flags = 1 << MEMF_NODE_SHIFT | MEMF_VNODE | MEMF_EXACT_NODE
    assert bench.ret(IncreaseReservation(guest.domid, 4, 0, flags), guest) == 4
    assert taken(bench, before) == [4, 0, 0]


@every_release
@pytest.mark.rule("N8", "W10")
def test_numainfo_tells_what_each_node_has(name: str) -> None:
    """Size and free pages by node in every release, and the claims on the node under claim sets."""
    bench = NumaHost(name, THREE)
    guest = bench.create()
    sizes = [(size, free) for size, free, _ in bench.nodes_seen()]
    assert sizes == [(512, free) for free in free_by_node(bench)]
    bench.claim(guest, 5)
    assert [claimed for _, _, claimed in bench.nodes_seen()] == [0, 0, 0]
    bench.claim(guest, 0)
    bench.claim_set(guest, {2: 9})
    assert bench.nodes_seen()[2][2] == (9 if name == "claim-sets" else 0)
    assert bench.ret(Numainfo(), guest) == -Errno.EPERM
    assert bench.ret(ClaimMemory(guest.domid, ()), guest) == -Errno.EPERM
