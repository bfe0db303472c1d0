"""Claim sets: claims on single nodes and on the host, replaced at once (rules N1 to N7, I11)."""

from __future__ import annotations

import pytest

from hypervisor.public.domctl import DestroyDomain, MapForeign, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import IncreaseReservation
from hypervisor.public.numa import (
    CLAIM_TARGET_GLOBAL,
    CLAIM_TARGET_LEGACY,
    ClaimMemory,
    MemoryClaim,
    node_claim,
)
from tests.core.numa_host import NumaHost
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles

GLOBAL, LEGACY = CLAIM_TARGET_GLOBAL, CLAIM_TARGET_LEGACY
U64_MAX = (1 << 64) - 1


@pytest.mark.rule("N1", "N3", "N4", "I11")
def test_a_set_replaces_the_one_before_and_ignores_what_is_held() -> None:
    """The sizes are pages still to come, on nodes and host-wide, and the last set is the only one."""
    bench = NumaHost()
    guest = bench.create()
    assert bench.grow(guest, 30) == 30
    assert bench.claim_set(guest, {0: 10, 1: 20}, host_wide=5) == 0
    assert bench.held(guest) == ({0: 10, 1: 20}, 5)
    assert (bench.outstanding, bench.domain(guest.domid).outstanding_pages) == (35, 35)
    assert [claimed for _, _, claimed in bench.nodes_seen()] == [10, 20]
    assert bench.claim_set(guest, {1: 7}) == 0
    assert bench.held(guest) == ({1: 7}, 0)
    assert [claimed for _, _, claimed in bench.nodes_seen()] == [0, 7]
    assert bench.claim_set(guest, host_wide=0) == 0
    assert (bench.held(guest), bench.outstanding) == (({}, 0), 0)


@pytest.mark.rule("N3")
def test_a_set_is_installed_whole_or_not_at_all() -> None:
    """When the last entry does not fit, the old set stands untouched, on every node."""
    bench = NumaHost()
    guest = bench.create()
    assert bench.claim_set(guest, {0: 10}, host_wide=3) == 0
    assert bench.claim_set(guest, {0: 1, 1: 5000}) == -Errno.ENOMEM
    assert bench.claim_set(guest, {0: 1}, host_wide=5000) == -Errno.ENOMEM
    assert bench.held(guest) == ({0: 10}, 3)


@pytest.mark.rule("N3", "N2")
def test_a_set_may_grow_into_what_the_domain_has_claimed_already() -> None:
    """Both tests for memory leave out the claims that the new set takes the place of."""
    bench = NumaHost()
    guest = bench.create()
    bench.leave_on_nodes(50, 0)
    assert bench.claim_set(guest, {0: 50}) == 0
    assert bench.claim_set(guest, {0: 50}) == 0
    assert bench.claim_set(guest, {0: 20}, host_wide=30) == 0
    assert bench.claim_set(guest, {0: 20}, host_wide=31) == -Errno.ENOMEM
    assert bench.claim_set(guest, {0: 51}) == -Errno.ENOMEM


@pytest.mark.rule("N2")
@pytest.mark.parametrize(
    ("claims", "pad", "answer"),
    [
        ((), 0, -Errno.EINVAL),
        ((MemoryClaim(5),), 1, -Errno.EINVAL),
        ((MemoryClaim(5),) * 66, 0, -Errno.E2BIG),
        ((MemoryClaim(5, GLOBAL, 1),), 0, -Errno.EINVAL),
        ((node_claim(0, 5), MemoryClaim(5, 1, 1)), 0, -Errno.EINVAL),
        ((MemoryClaim(5), MemoryClaim(5)), 0, -Errno.EINVAL),
        ((node_claim(1, 5), node_claim(1, 5)), 0, -Errno.EINVAL),
        ((node_claim(1, 0), node_claim(1, 0)), 0, -Errno.EINVAL),
        ((node_claim(0, U64_MAX),), 0, -Errno.EINVAL),
        ((node_claim(0, 5), node_claim(1, 0xFFFF_FFFB)), 0, -Errno.EINVAL),
        ((node_claim(2, 5),), 0, -Errno.ENOENT),
        ((node_claim(63, 5),), 0, -Errno.ENOENT),
        ((node_claim(64, 5),), 0, -Errno.ENOENT),
        ((node_claim(0x8000_0001, 5),), 0, -Errno.ENOENT),
        ((node_claim(0, 5), MemoryClaim(5, LEGACY)), 0, -Errno.ENOENT),
        ((MemoryClaim(5, LEGACY), node_claim(0, 5)), 0, -Errno.ENOENT),
        ((node_claim(0, 1024),), 0, -Errno.ENOMEM),
        ((MemoryClaim(991),), 0, -Errno.EINVAL),
        ((MemoryClaim(U64_MAX),), 0, -Errno.EINVAL),
        ((MemoryClaim(500), node_claim(0, 491)), 0, -Errno.EINVAL),
        ((MemoryClaim(500), node_claim(0, 490)), 0, 0),
    ],
)
def test_a_set_that_cannot_be_is_refused_with_the_errno_of_the_rule(
    claims: tuple[MemoryClaim, ...], pad: int, answer: int
) -> None:
    """Every malformed or excessive set has its errno and changes nothing; max_pages is 1000, tot_pages 10."""
    bench = NumaHost()
    guest = bench.create(max_pages=1000)
    assert bench.grow(guest, 10) == 10
    assert bench.ret(ClaimMemory(guest.domid, claims, pad)) == answer
    assert bool(bench.outstanding) == (answer == 0)


@pytest.mark.rule("N2")
def test_the_first_fault_decides_the_errno() -> None:
    """A set with several faults answers for the one that Xen looks at first."""
    bench = NumaHost()
    guest = bench.create(max_pages=1000)
    many = (node_claim(64, 5), *[MemoryClaim(5, 0, 1)] * 65)
    assert bench.ret(ClaimMemory(guest.domid, many, 1)) == -Errno.EINVAL  # the pad before the number
    assert bench.ret(ClaimMemory(guest.domid, many)) == -Errno.E2BIG  # the number before the entries
    assert bench.ret(ClaimMemory(guest.domid, many[:2])) == -Errno.ENOENT  # entry by entry
    assert bench.claim_set(guest, {0: 1024}, host_wide=5000) == -Errno.ENOMEM  # the node before max_pages
    assert bench.claim_set(guest, {}, host_wide=5000) == -Errno.EINVAL  # max_pages before the host
    bench.grow(guest, 1)
    bench.ret(MapForeign(guest.domid, singles(bench.frames_of(guest))))
    bench.ret(DestroyDomain(guest.domid))
    assert bench.ret(ClaimMemory(guest.domid, many)) == -Errno.E2BIG  # the number before the dying
    assert bench.ret(ClaimMemory(guest.domid, many[:1])) == -Errno.ESRCH  # the dying before the entries
    assert bench.ret(ClaimMemory(77, many)) == -Errno.ESRCH


@pytest.mark.rule("N2", "C1", "C8")
def test_colouring_and_privilege_come_first() -> None:
    """A guest is refused before anything is looked at, and a coloured host takes no claim set."""
    bench = NumaHost()
    guest = bench.create()
    assert bench.ret(ClaimMemory(guest.domid, ()), guest) == -Errno.EPERM
    coloured = SmallHost("claim-sets", llc_coloring=True)
    assert coloured.ret(ClaimMemory(coloured.create().domid, ())) == -Errno.EOPNOTSUPP


@pytest.mark.parametrize("name", EVERY_RELEASE)
@pytest.mark.rule("N1")
def test_only_the_preset_knows_claim_sets(name: str) -> None:
    """A released Xen answers ENOSYS, and nothing is claimed."""
    bench = NumaHost(name)
    guest = bench.create()
    assert bench.claim_set(guest, {0: 5}) == (0 if name == "claim-sets" else -Errno.ENOSYS)
    assert bench.outstanding == (5 if name == "claim-sets" else 0)


@pytest.mark.rule("N1", "C12", "C13", "C15")
def test_the_legacy_target_is_the_old_call() -> None:
    """A sole LEGACY entry means a total, is refused while claims stand, and 0 drops claims of every kind."""
    bench = NumaHost()
    guest = bench.create()
    bench.grow(guest, 10)
    legacy = ClaimMemory(guest.domid, (MemoryClaim(25, LEGACY),))
    assert bench.ret(legacy) == 0
    assert bench.held(guest) == ({}, 15)
    assert bench.ret(legacy) == -Errno.EINVAL
    assert bench.claim_set(guest, {1: 40}) == 0
    assert bench.ret(legacy) == -Errno.EINVAL
    assert bench.claim(guest, 25) == -Errno.EINVAL  # XENMEM_claim_pages while node claims stand
    assert bench.held(guest) == ({1: 40}, 0)
    assert bench.claim(guest, 0) == 0
    assert (bench.held(guest), bench.outstanding) == (({}, 0), 0)
    assert bench.claim(guest, 25) == 0


@pytest.mark.rule("N6")
def test_the_nodes_own_claim_goes_first_then_the_host_wide_then_the_other_nodes() -> None:
    """Pages taken on node 0 draw down node 0's claim, the host-wide one and node 1's, in this order."""
    bench = NumaHost()
    guest = bench.create()
    assert bench.claim_set(guest, {0: 4, 1: 4}, host_wide=4) == 0
    seen = []
    for _ in range(7):
        assert bench.grow_on(guest, 0, 2, order=1) == 1
        seen.append(bench.held(guest))
    assert seen == [
        ({0: 2, 1: 4}, 4),
        ({1: 4}, 4),
        ({1: 4}, 2),
        ({1: 4}, 0),
        ({1: 2}, 0),
        ({}, 0),
        ({}, 0),
    ]
    assert bench.outstanding == 0


@pytest.mark.rule("N6")
def test_one_extent_may_draw_on_all_three() -> None:
    """A large extent uses up the node's claim, then the host-wide one, and takes the rest from others."""
    bench = NumaHost(nodes=(1024, 1024, 1024))
    guest = bench.create()
    assert bench.claim_set(guest, {0: 3, 1: 2, 2: 6}, host_wide=1) == 0
    assert bench.grow_on(guest, 2, 8, order=3) == 1
    assert bench.held(guest) == ({0: 2, 1: 2}, 0)


@pytest.mark.rule("N5", "I6")
def test_a_node_keeps_what_is_claimed_of_it() -> None:
    """A stranger gets from a node what is unclaimed there, and then its extents come from another node."""
    bench = NumaHost()
    guest, other = bench.create(), bench.create()
    bench.leave_on_nodes(50)
    assert bench.claim_set(guest, {0: 45}) == 0
    assert bench.grow_on(other, 0, 10) == 5
    before = bench.node_free(1)
    assert bench.grow(other, 10) == 10
    assert (bench.node_free(0), before - bench.node_free(1)) == (45, 10)
    assert bench.grow_on(guest, 0, 50) == 45
    assert bench.node_free(0) == 0


@pytest.mark.rule("N5", "C17", "V5")
def test_a_claim_makes_up_for_what_unclaimed_memory_lacks() -> None:
    """On the host and on a node: unclaimed pages and the own claim cover a large extent together."""
    bench = NumaHost()
    guest, other = bench.create(), bench.create()
    bench.leave_on_nodes(0, 16)
    assert bench.claim_set(other, {1: 8}) == 0
    assert bench.claim_set(guest, {1: 5}) == 0
    assert bench.grow_on(guest, 1, 16, order=4) == 0  # 3 unclaimed and 5 own are 8
    assert bench.grow_on(other, 1, 16, order=4) == 0  # 3 unclaimed and 8 own are 11
    assert bench.grow_on(guest, 1, 8, order=3) == 1
    assert (bench.held(guest), bench.held(other)) == (({}, 0), ({1: 8}, 0))
    assert ("I6", "shortfall") in bench.seen


@pytest.mark.rule("N5")
def test_a_host_wide_claim_does_not_open_a_node() -> None:
    """On a node only the claim on that node helps; a host-wide one is good for the other nodes."""
    bench = NumaHost()
    guest, other = bench.create(), bench.create()
    bench.leave_on_nodes(20, 20)
    assert bench.claim_set(other, {0: 20}) == 0
    assert bench.claim_set(guest, host_wide=20) == 0
    assert bench.grow_on(guest, 0, 1) == 0
    assert bench.grow(guest, 30) == 20
    assert bench.node_free(1) == 0


@pytest.mark.rule("N5", "C17", "A31")
def test_xens_own_pages_lean_on_no_node_claim() -> None:
    """Anonymous pages are held back by claims on nodes as by those on the host."""
    bench = NumaHost()
    guest = bench.create()
    bench.leave_on_nodes(12, 30)
    assert bench.claim_set(guest, {0: 12, 1: 30}) == 0
    before = bench.free
    with pytest.raises(AssertionError):  # createdomain is refused with ENOMEM
        bench.create()
    assert bench.free == before
    assert bench.claim_set(guest, {0: 12, 1: 15}) == 0
    bench.create()
    assert bench.node_free(0) == 12


@pytest.mark.rule("C30", "N4", "I5", "I11")
def test_a_kill_drops_the_claims_on_every_node() -> None:
    """destroydomain leaves no claim on any node."""
    bench = NumaHost()
    guest = bench.create()
    bench.claim_set(guest, {0: 10, 1: 20}, host_wide=5)
    assert bench.ret(DestroyDomain(guest.domid)) == 0
    assert (bench.outstanding, bench.host.node_outstanding_claims) == (0, {})


@pytest.mark.rule("I4", "N3", "C23")
@pytest.mark.parametrize("name", ["4.17", "4.22", "claim-sets"])
def test_a_claim_installed_under_an_allocation_in_flight_may_exceed_max_pages(name: str) -> None:
    """DSM-1: between alloc and assign a new claim does not see the pages; tot + claim passes max_pages."""
    bench = NumaHost(name)
    guest = bench.create(max_pages=100)
    assert bench.claim(guest, 100) == 0
    running = bench.submit(IncreaseReservation(guest.domid, 1, 5))
    bench.step(running)
    bench.claim(guest, 0)
    assert bench.claim(guest, 100) == 0
    assert bench.finish(running).ret == 1
    domain = bench.domain(guest.domid)
    over = domain.tot_pages + domain.outstanding_pages - domain.max_pages
    assert over == (0 if name == "4.17" else 32)
    assert (("I4", "in flight") in bench.seen) == (name != "4.17")
    assert bench.ret(MaxMem(guest.domid, 0)) == 0


@pytest.mark.rule("I11", "N5")
def test_the_owner_of_node_claims_starves_when_the_host_test_does_not_count_them() -> None:
    """The historic design bug: node 0 has 100 free, 90 of them A's, node 1 10, 5 of them B's; A asks."""

    def asked(**switches: bool) -> tuple[int, int]:
        bench = NumaHost(**switches)
        a, b = bench.create(), bench.create()
        bench.leave_on_nodes(100, 10)
        assert bench.claim_set(a, {0: 90}) == 0
        assert bench.claim_set(b, {1: 5}) == 0
        return bench.grow_on(a, 0, 32, order=4), bench.unclaimed

    assert asked(host_test_counts_node_claims=False) == (0, 15)
    assert asked() == (2, 15)
