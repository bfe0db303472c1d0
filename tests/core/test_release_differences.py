"""Every difference between releases that claims and allocation show: the same script on two presets.

The table of the version rules (1j) row by row, then what sections 1d to 1f, 1i, 2 and 7b say of single
releases. The rows of 1j that are about tmem are in test_release_differences_tmem.py. Of 1j, LLC colouring "-"
up to 4.17 means that such a host does not exist there; here it exists and claims on it are accepted.

Not shown, because no caller can tell: the codes of A12 (a NULL whichever), the order in which a kill of 4.3
and of 4.22 lets go of things (C30), lazy scrubbing (A14), A25's "only if tmem is on" (with tmem off nothing
is freeable). Not modelled: see ARCHITECTURE.md (A6, A10, C19, C20). Differences of sharing and populate on
demand are tested where those are.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from hypervisor.core.claims import allocation_refused
from hypervisor.core.releases import RELEASES, Release
from hypervisor.public.domctl import (
    CDF_HVM,
    Created,
    CreateDomain,
    DestroyDomain,
    Frames,
    GetDomainInfo,
    MapForeign,
    MaxMem,
    UnmapForeign,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    MEMF_EXACT_NODE,
    MEMF_VNODE,
    ClaimPages,
    DecreaseReservation,
    IncreaseReservation,
    memf_exact_node,
)
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
from tests.core.small_host import SmallHost, singles
from tests.core.test_release_differences_tmem import DIFFERENCES as TMEM_DIFFERENCES

# Section 1: claims


def no_refcount_refused(preset: Release) -> int:
    """Is a page outside tot_pages refused although its domain's claim would cover it?"""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.leave_free(5)
    assert bench.claim(guest, 5) == 0
    return int(allocation_refused(bench.host, bench.domain(guest.domid), 1, no_refcount=True))


def claim_after_a_free(preset: Release) -> int:
    """A claim of 5 beside 5 pages held, after one of these went back."""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.grow(guest, 5)
    bench.claim(guest, 10)
    bench.ret(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)[:1])))
    return bench.outstanding


def claim_between_alloc_and_assign(preset: Release) -> int:
    """A claim of 8 after an extent of 4 pages was taken and not yet assigned."""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.claim(guest, 8)
    running = bench.submit(IncreaseReservation(guest.domid, 1, 2))
    bench.step(running)
    seen = bench.outstanding
    bench.finish(running)
    return seen


def claim_after_a_refused_assign(preset: Release) -> int:
    """A claim of 8 after an extent of 8 pages was taken from the heap and refused at max_pages."""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.claim(guest, 8)
    bench.ret(MaxMem(guest.domid, 0))
    assert bench.grow(guest, 8, order=3) == 0
    return bench.outstanding


def absurd_claim_in_the_window(preset: Release) -> int:
    """The answer to a claim of 1,000,000 pages while another's claimed extent is in flight."""
    bench = SmallHost(preset)
    guest, other = bench.create(), bench.create()
    bench.leave_free(40)
    assert bench.claim(guest, 40) == 0
    running = bench.submit(IncreaseReservation(guest.domid, 1))
    bench.step(running)
    answer = bench.claim(other, 1_000_000)
    bench.claim(other, 0)
    bench.finish(running)
    return answer


def stranger_in_the_window(preset: Release) -> int:
    """Pages that another gets of the 2 unclaimed, while a claimed extent is in flight."""
    bench = SmallHost(preset)
    guest, other = bench.create(), bench.create()
    bench.leave_free(8)
    assert bench.claim(guest, 6) == 0
    running = bench.submit(IncreaseReservation(guest.domid, 1, 2))
    bench.step(running)
    got = bench.grow(other, 1)
    bench.finish(running)
    return got


def second_extent_on_one_claim(preset: Release) -> int:
    """Extents that two requests of one domain get by leaning on the same claim of one extent."""
    bench = SmallHost(preset)
    a, b = bench.create(), bench.create()
    bench.leave_free(8)
    assert (bench.claim(a, 4), bench.claim(b, 4)) == (0, 0)
    running = [bench.submit(IncreaseReservation(a.domid, 1, 2)) for _ in range(2)]
    for one in running:
        bench.step(one)
    return sum(bench.finish(one).ret for one in running)


def zombie(preset: Release) -> tuple[SmallHost, int, tuple[tuple[int, int], ...]]:
    """A killed domain that a foreign mapping keeps, and the answer to a claim on it."""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.grow(guest, 1)
    mapped = bench.call(MapForeign(guest.domid, singles(bench.frames_of(guest)))).value
    assert isinstance(mapped, Frames)
    bench.ret(DestroyDomain(guest.domid))
    return bench, guest.domid, mapped.extents


def claim_on_a_zombie(preset: Release) -> int:
    """The answer to a claim on a domain whose kill has begun."""
    bench, domid, _ = zombie(preset)
    return bench.ret(ClaimPages(domid, 10))


def no_claim_on_a_zombie(preset: Release) -> int:
    """The answer to claim 0 on a domain whose kill has begun."""
    bench, domid, _ = zombie(preset)
    return bench.ret(ClaimPages(domid, 0))


def leak_of_a_zombie(preset: Release) -> int:
    """Is anything claimed when the domain that was claimed for is gone?"""
    bench, domid, mapped = zombie(preset)
    bench.ret(ClaimPages(domid, 10))
    bench.ret(UnmapForeign(domid, mapped))
    assert bench.host.find(domid) is None
    return int(bench.outstanding > 0)


def start_extent(preset: Release) -> int:
    """The answer to a claim with start_extent bits in the command."""
    bench = SmallHost(preset)
    return bench.ret(ClaimPages(bench.create().domid, 10, start_extent=1))


def colouring(preset: Release) -> int:
    """The answer to a claim on a host with LLC colouring."""
    bench = SmallHost(preset, llc_coloring=True)
    return bench.claim(bench.create(), 10)


# Section 1i: claim sets, offlining


def claim_set(preset: Release) -> int:
    """The answer to XEN_DOMCTL_claim_memory."""
    bench = NumaHost(preset)
    return bench.claim_set(bench.create(), {1: 10})


def claimed_node_taken(preset: Release) -> int:
    """Pages that a stranger gets of a node of which all 50 are promised to another."""
    bench = NumaHost(preset)
    guest, other = bench.create(), bench.create()
    bench.leave_on_nodes(100, 50)
    if bench.claim_set(guest, {1: 50}):
        assert bench.claim(guest, 50) == 0  # the best that there is: host-wide
    return bench.grow_on(other, 1, 50)


def shortfall(preset: Release) -> int:
    """V5: free 5, claim 2; does the claimant get an extent of 4 pages?"""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.leave_free(5)
    assert bench.claim(guest, 2) == 0
    return bench.grow(guest, 4, order=2)


def claim_after_offlining(preset: Release) -> int:
    """A claim on all of 4 free pages when one of them has gone out of service."""
    bench = NumaHost(preset)
    guest = bench.create()
    bench.leave_free(4)
    assert bench.claim(guest, 4) == 0
    mfn, _ = next(bench.host.heap.free_blocks())
    bench.offline(mfn)
    return bench.outstanding


def legacy_claim_is_part_of_a_set(preset: Release) -> int:
    """XENMEM_claim_pages while a claim on a node stands, or was asked for."""
    bench = NumaHost(preset)
    guest = bench.create()
    bench.claim_set(guest, {1: 10})
    return bench.claim(guest, 10)


# Section 2: allocation; life and death; locks


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


EINVAL, ENOMEM, ENOSYS = -Errno.EINVAL, -Errno.ENOMEM, -Errno.ENOSYS
ALLOC, DYING, NODES = "claim_consumed_at_alloc", "claim_on_dying_refused", "node_flags_need_privilege"

# fmt: off
DIFFERENCES = (
    # The rows of 1j
    difference("no_refcount is barred from the claim", "no_refcount_barred_from_claim", ("C17", "C20"),
               no_refcount_refused, ("4.3", 0), ("4.12", 1)),
    difference("a free regrows the claim", "free_regrows_claim", ("C21", "C22", "V6"),
               claim_after_a_free, ("4.17", 6), ("4.21", 5)),
    difference("a claim is consumed at alloc", ALLOC, ("C21", "C23", "P1", "P2"),
               claim_between_alloc_and_assign, ("4.21", 8), ("4.22", 4)),
    difference("a claim on a dying domain", DYING, ("C9", "z02"),
               claim_on_a_zombie, ("4.21", 0), ("4.22", EINVAL)),
    difference("LLC colouring", "claim_coloring_refused", ("C1",),
               colouring, ("4.21", 0), ("4.22", -Errno.EOPNOTSUPP)),
    difference("start_extent is checked", "claim_start_extent_checked", ("C2",),
               start_extent, ("4.3", 0), ("4.12", EINVAL)),
    # What follows from them
    difference("a refused assign eats the claim", ALLOC, ("C23", "h30"),
               claim_after_a_refused_assign, ("4.21", 8), ("4.22", 0)),
    difference("any claim passes in the window", ALLOC, ("C14", "C27", "race2"),
               absurd_claim_in_the_window, ("4.21", 0), ("4.22", ENOMEM)),
    difference("others fail falsely in the window", ALLOC, ("C27", "P1", "P2"),
               stranger_in_the_window, ("4.21", 0), ("4.22", 1)),
    difference("two extents lean on one claim", ALLOC, ("C27", "C17"),
               second_extent_on_one_claim, ("4.21", 2), ("4.22", 1)),
    difference("claim 0 on a dying domain", DYING, ("C9", "C11", "z02"),
               no_claim_on_a_zombie, ("4.21", 0), ("4.22", EINVAL)),
    difference("a claim outlives its domain", DYING, ("C9", "z01"),
               leak_of_a_zombie, ("4.21", 1), ("4.22", 0)),
    # 1i
    difference("claim sets", "claim_sets", ("N1",),
               claim_set, ("4.22", ENOSYS), ("claim-sets", 0)),
    difference("a node keeps what is claimed of it", "claim_sets", ("N5", "n01"),
               claimed_node_taken, ("4.22", 50), ("claim-sets", 0)),
    difference("the legacy claim is refused beside a set", "claim_sets", ("N1", "C12"),
               legacy_claim_is_part_of_a_set, ("4.22", 0), ("claim-sets", EINVAL)),
    difference("a claim covers a shortfall", "claim_covers_shortfall", ("N5", "C17", "V5"),
               shortfall, ("4.22", 0), ("claim-sets", 1)),
    difference("offlining recalls claims", "offlining_recalls_claims", ("N7", "C28", "W9"),
               claim_after_offlining, ("4.22", 4), ("claim-sets", 3)),
    # Section 2, and the rest
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


WITHOUT_A_ROW = ("name", "host_test_counts_node_claims")
"""The second tells the preset from a draft of itself, not from a release: see test_claim_sets.py."""


def test_no_switch_is_without_a_row() -> None:
    """Every field in which two presets differ has a script that shows it."""
    shown = {row.values[0].switch for row in (*DIFFERENCES, *TMEM_DIFFERENCES)}
    differing = {
        field.name
        for field in fields(Release)
        if len({getattr(one, field.name) for one in RELEASES.values()}) > 1
    }
    assert differing - shown == set(WITHOUT_A_ROW)
