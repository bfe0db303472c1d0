"""Every difference between releases that claims show: the same script on two presets.

The table of the version rules (1j) row by row, then what sections 1d to 1f, 1i and 7b say of single releases.
Section 2 is in test_release_differences_allocation.py, the row of 1j that is about tmem in
test_release_differences_tmem.py. Of 1j, LLC colouring "-"
up to 4.17 means that such a host does not exist there; here it exists and claims on it are accepted.

Not shown, because no caller can tell: the codes of A12 (a NULL whichever), the order in which a kill of 4.3
and of 4.22 lets go of things (C30), lazy scrubbing (A14), A25's "only if tmem is on" (with tmem off nothing
is freeable), the control domain's freedom of orders in 4.3 (A5: beyond order 18 there is nothing to be had).
Not modelled: see ARCHITECTURE.md (A6, A10, C19, C20). Differences of sharing and populate on
demand are tested where those are.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from hypervisor.core.claims import allocation_refused
from hypervisor.core.releases import RELEASES, Release
from hypervisor.public.domctl import (
    DestroyDomain,
    Frames,
    MapForeign,
    MaxMem,
    UnmapForeign,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    ClaimPages,
    DecreaseReservation,
    IncreaseReservation,
)
from tests.core.numa_host import NumaHost
from tests.core.release_differences import (
    Difference,
    assert_answers,
    assert_others_side_with_one,
    assert_switch_alone_decides,
    difference,
)
from tests.core.small_host import SmallHost, singles
from tests.core.test_release_differences_allocation import DIFFERENCES as ALLOCATION_DIFFERENCES
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


def unclaimed_while_a_page_goes_back(preset: Release) -> int:
    """By how much free - outstanding is short between the halves of a claimant's decrease by a page."""
    bench = SmallHost(preset)
    guest = bench.create()
    bench.grow(guest, 5)
    bench.claim(guest, 10)
    steady = bench.unclaimed
    giving = bench.submit(DecreaseReservation(guest.domid, singles(bench.frames_of(guest)[:1])))
    bench.step(giving)
    short = steady - bench.unclaimed
    bench.finish(giving)
    return short


def over_max_pages(preset: Release) -> int:
    """By how much tot + claim passes max_pages when a claim is renewed under an extent of 32 in flight."""
    bench = SmallHost(preset)
    guest = bench.create(max_pages=100)
    assert bench.claim(guest, 100) == 0
    running = bench.submit(IncreaseReservation(guest.domid, 1, 5))
    bench.step(running)
    assert (bench.claim(guest, 0), bench.claim(guest, 100)) == (0, 0)
    bench.finish(running)
    domain = bench.domain(guest.domid)
    return domain.tot_pages + domain.outstanding_pages - domain.max_pages


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


EINVAL, ENOMEM, ENOSYS = -Errno.EINVAL, -Errno.ENOMEM, -Errno.ENOSYS
ALLOC, DYING = "claim_consumed_at_alloc", "claim_on_dying_refused"

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
    difference("a regrown claim is seen before its page", "free_regrows_claim", ("P3", "P4", "C27"),
               unclaimed_while_a_page_goes_back, ("4.17", 1), ("4.21", 0)),
    difference("a renewed claim may pass max_pages", ALLOC, ("I4", "C13", "C23"),
               over_max_pages, ("4.21", 0), ("4.22", 32)),
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


EVERYWHERE = (*DIFFERENCES, *ALLOCATION_DIFFERENCES, *TMEM_DIFFERENCES)
WITHOUT_A_ROW = ("name", "host_test_counts_node_claims")
"""The second tells the preset from a draft of itself, not from a release: see test_claim_sets.py."""


OF_SHARING = (
    "sharing_enabled_by_use",
    "sharing_range_share",
    "nominate_refuses_dying",
    "pod_populate_on_self",
)
"""Switches of page sharing and populate on demand."""


def test_no_switch_is_without_a_row() -> None:
    """Every field in which two presets differ has a script that shows it."""
    shown = {row.values[0].switch for row in EVERYWHERE}
    differing = {
        field.name
        for field in fields(Release)
        if len({getattr(one, field.name) for one in RELEASES.values()}) > 1
    }
    assert differing - shown - set(OF_SHARING) == set(WITHOUT_A_ROW)
