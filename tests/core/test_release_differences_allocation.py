"""Every difference between releases in allocation, life and death, and locks: one script on two presets.

Sections 2, 1g and 7b; how to read a row: release_differences.py.
"""

from __future__ import annotations

import pytest

from hypervisor.core.releases import Release
from hypervisor.public.domctl import CDF_HVM, Created, CreateDomain, DestroyDomain, GetDomainInfo, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import MEMF_EXACT_NODE, MEMF_VNODE, IncreaseReservation, memf_exact_node
from hypervisor.public.numa import SetVnumaInfo
from hypervisor.public.units import UINT_MAX
from tests.core.numa_host import NumaHost
from tests.core.release_differences import (
    Difference,
    assert_answers,
    assert_others_side_with_one,
    assert_switch_alone_decides,
    difference,
)
from tests.core.small_host import SmallHost


def privilege(preset: Release) -> int:
    """The answer to one guest's increase_reservation for another."""
    bench = SmallHost(preset)
    owner, stranger = bench.create(), bench.create()
    return bench.ret(IncreaseReservation(owner.domid, 1), stranger)


def exact_node_of_a_guest(preset: Release) -> int:
    """Extents that a guest gets from a node that it names."""
    bench = SmallHost(preset, nodes=(512, 512))
    guest = bench.create()
    return bench.ret(IncreaseReservation(guest.domid, 1, 0, memf_exact_node(0)), guest)


def hint_of_a_guest(preset: Release) -> int:
    """Of 4 extents that a guest would like from node 1, how many come from there?"""
    bench = NumaHost(preset)
    guest = bench.create()
    before = bench.node_free(1)
    assert bench.ret(IncreaseReservation(guest.domid, 4, 0, 2 << 8), guest) == 4
    return before - bench.node_free(1)


def impossible_node(preset: Release) -> int:
    """Extents that the control domain gets with a hint of node 64, which no host has."""
    bench = SmallHost(preset)
    guest = bench.create()
    assert bench.ret(IncreaseReservation(guest.domid, 1, 0, 64 << 8)) == 1
    return bench.ret(IncreaseReservation(guest.domid, 1, 0, 65 << 8))


def virtual_node(preset: Release) -> int:
    """Of 4 extents for virtual node 0, which is to be on node 1, how many come from there?"""
    bench = NumaHost(preset)
    guest = bench.create()
    bench.ret(SetVnumaInfo(guest.domid, (1,)))
    before = bench.node_free(1)
    flags = 1 << 8 | MEMF_VNODE | MEMF_EXACT_NODE
    assert bench.ret(IncreaseReservation(guest.domid, 4, 0, flags)) == 4
    return before - bench.node_free(1)


def wide_max_mem(preset: Release) -> int:
    """max_pages after a max_mem of 2^32 + 1 pages."""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.ret(MaxMem(guest.domid, (1 << 34) + 4))
    return bench.domain(guest.domid).max_pages


def long_destroy(preset: Release) -> int:
    """The answer to destroying a domain of several slices."""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.grow(guest, 1500)
    return bench.ret(DestroyDomain(guest.domid))


def domid_zero(preset: Release) -> int:
    """createdomain with domid 0: the id given, or the refusal."""
    bench = SmallHost(preset)
    reply = bench.call(CreateDomain(0))
    return reply.value.domid if isinstance(reply.value, Created) else reply.ret


def getdomaininfo_beside_a_domctl(preset: Release) -> int:
    """Can getdomaininfo move while a destroydomain holds the domctl lock?"""
    bench = SmallHost(preset)
    guest, victim = bench.create(), bench.create()
    killing = bench.submit(DestroyDomain(victim.domid))
    bench.step(killing)
    moves = bench.machine.is_runnable(bench.submit(GetDomainInfo(guest.domid)))
    bench.finish(killing)
    return int(moves)


def cost_of_a_domain(preset: Release, flags: int) -> int:
    """Pages that createdomain takes."""
    bench = SmallHost(preset)
    free = bench.free
    assert bench.ret(CreateDomain(flags=flags)) == 0
    return free - bench.free


def cost_of_pv(preset: Release) -> int:
    """For a PV domain."""
    return cost_of_a_domain(preset, 0)


def cost_of_hvm(preset: Release) -> int:
    """For an HVM domain without HAP."""
    return cost_of_a_domain(preset, CDF_HVM)


NODES = "node_flags_need_privilege"

# fmt: off
DIFFERENCES = (
    difference("a stranger's memory_op", "memory_op_privilege_errno", ("A4",),
               privilege, ("4.3", -Errno.EPERM), ("4.12", 0)),
    difference("a guest's exact node ends the call", NODES, ("A7", "A3"),
               exact_node_of_a_guest, ("4.3", 1), ("4.12", 0)),
    difference("a guest's hint of a node is ignored", NODES, ("A7", "A21"),
               hint_of_a_guest, ("4.3", 4), ("4.12", 2)),
    difference("an impossible node ends the call", NODES, ("A3", "A7"),
               impossible_node, ("4.3", 1), ("4.12", 0)),
    difference("virtual nodes", NODES, ("A3", "A7"),
               virtual_node, ("4.3", 0), ("4.12", 4)),
    difference("max_mem saturates", "max_pages_saturates", ("A15",),
               wide_max_mem, ("4.3", 1), ("4.12", UINT_MAX)),
    difference("destroydomain continues by itself", "destroy_returns_eagain", ("C31",),
               long_destroy, ("4.3", -Errno.EAGAIN), ("4.12", 0)),
    difference("createdomain takes domid 0 at its word", "create_domid_zero_is_dom0", ("A31",),
               domid_zero, ("4.21", 1), ("4.22", -Errno.EEXIST)),
    difference("getdomaininfo takes no lock", "getdomaininfo_takes_domctl_lock", ("P9",),
               getdomaininfo_beside_a_domctl, ("4.21", 0), ("4.22", 1)),
    difference("the cost of a PV domain", "pv_structure_pages", ("A31",),
               cost_of_pv, ("4.17", 15), ("4.21", 10)),
    difference("the cost of an HVM domain", "hvm_structure_pages", ("A31",),
               cost_of_hvm, ("4.17", 17), ("4.21", 13)),
)
# fmt: on
each_difference = pytest.mark.parametrize("row", DIFFERENCES)


@each_difference
def test_the_two_releases_answer_differently(row: Difference) -> None:
    """The same script answers as the rules say for the last release before the change and the first after."""
    assert_answers(row)


@each_difference
def test_every_other_release_sides_with_one_of_them(row: Difference) -> None:
    """What changed, changed once: the older presets answer as the older one, the newer as the newer."""
    assert_others_side_with_one(row)


@each_difference
def test_one_switch_makes_the_difference(row: Difference) -> None:
    """The older preset with that one switch turned answers as the newer: each rule can be turned alone."""
    assert_switch_alone_decides(row)
