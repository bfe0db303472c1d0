"""Taking frames out of service, and what becomes of claims then (rules C28, N7, W9)."""

from __future__ import annotations

import pytest

from hypervisor.core.allocation import IN_FLIGHT
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.errors import Errno
from hypervisor.public.memory import DecreaseReservation, IncreaseReservation
from hypervisor.public.offlining import (
    PAGE_OFFLINE,
    PG_OFFLINE_ANONYMOUS,
    PG_OFFLINE_FAILED,
    PG_OFFLINE_INVALID,
    PG_OFFLINE_OFFLINED,
    PG_OFFLINE_OWNED,
    PG_OFFLINE_PENDING,
    PG_OFFLINE_STATUS_OFFLINE_PENDING,
    PG_OFFLINE_STATUS_OFFLINED,
    PG_OFFLINE_XENPAGE,
    PG_ONLINE_ONLINED,
    OfflineStatus,
    PageOfflineOp,
    offline_frame,
)
from hypervisor.public.units import DOMID_INVALID, DOMID_XEN
from tests.core.numa_host import NumaHost
from tests.core.small_host import CONTROL, EVERY_RELEASE, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)
RELEASED = tuple(name for name in EVERY_RELEASE if name != "claim-sets")


@every_release
@pytest.mark.rule("C28", "W9")
def test_a_free_frame_leaves_the_heap_at_once(name: str) -> None:
    """Free memory falls by one page, the frame is never handed out, and going online brings it back."""
    bench = NumaHost(name, nodes=(300, 300))
    mfn, free = bench.free_frame() + 5, bench.free
    assert bench.offline(mfn) == PG_OFFLINE_OFFLINED
    assert bench.offline(mfn) == PG_OFFLINE_OFFLINED
    assert (bench.query(mfn), bench.query(mfn + 1)) == (PG_OFFLINE_STATUS_OFFLINED, 0)
    assert bench.free == free - 1
    filler = bench.leave_free(0)
    assert bench.grow(filler, 1) == 0
    assert mfn not in bench.frames_of(filler)
    assert bench.online(mfn) == PG_ONLINE_ONLINED
    assert (bench.free, bench.query(mfn), bench.online(mfn)) == (1, 0, 0)
    assert bench.grow(filler, 1) == 1
    assert mfn in bench.frames_of(filler)


@every_release
@pytest.mark.rule("C28", "A23")
def test_the_rest_of_a_block_stays_free_and_merges_again(name: str) -> None:
    """Only the one page is lost; with it back, the block is as large as before."""
    bench = NumaHost(name)
    largest, free = bench.host.heap.largest_free_order(), bench.free
    blocks = list(bench.host.heap.free_blocks())
    mfn = max((order, mfn) for mfn, order in blocks)[1] + 77
    bench.offline(mfn)
    assert sum(1 << order for _, order in bench.host.heap.free_blocks()) == free - 1
    bench.online(mfn)
    assert (bench.host.heap.largest_free_order(), list(bench.host.heap.free_blocks())) == (largest, blocks)


@every_release
@pytest.mark.rule("C28", "A14")
def test_an_allocated_frame_leaves_when_it_is_freed(name: str) -> None:
    """Its owner keeps it until then; freed, it does not come back to the heap."""
    bench = NumaHost(name)
    guest = bench.create()
    assert bench.grow(guest, 8, order=3) == 1
    first, second, third = bench.frames_of(guest)[:3]
    free = bench.free
    assert bench.offline(second) == PG_OFFLINE_OWNED | PG_OFFLINE_PENDING | guest.domid << 16
    assert bench.query(second) == PG_OFFLINE_STATUS_OFFLINE_PENDING
    assert bench.domain(guest.domid).tot_pages == 8
    assert bench.ret(DecreaseReservation(guest.domid, singles([first, second]))) == 2
    assert (bench.free, bench.query(second)) == (free + 1, PG_OFFLINE_STATUS_OFFLINED)
    assert bench.offline(third) == PG_OFFLINE_OWNED | PG_OFFLINE_PENDING | guest.domid << 16
    assert bench.online(third) == PG_ONLINE_ONLINED  # thought better of before it was freed
    while bench.ret(DestroyDomain(guest.domid)) == -Errno.EAGAIN:
        pass
    assert bench.query(third) == 0
    assert bench.host.offlined_pages == 1


@every_release
@pytest.mark.rule("C28", "A12")
def test_frames_of_xen_and_frames_in_flight_are_told_apart(name: str) -> None:
    """Xen's image never goes, a domain's structure when the domain does, a frame in flight when it lands."""
    bench = NumaHost(name)
    image = next(mfn for mfn, order in bench.host.xen_frames)
    reply = bench.call(offline_frame(image))
    assert reply.ret == -Errno.EPERM
    assert reply.value == OfflineStatus((PG_OFFLINE_XENPAGE | PG_OFFLINE_FAILED | DOMID_XEN << 16,))
    guest = bench.create()
    structure = bench.domain(guest.domid).structure_frames[0]
    assert bench.offline(structure) == PG_OFFLINE_XENPAGE | PG_OFFLINE_PENDING | DOMID_XEN << 16
    assert bench.ret(DestroyDomain(guest.domid)) == 0
    assert bench.query(structure) == PG_OFFLINE_STATUS_OFFLINED

    giving = bench.submit(DecreaseReservation(0, singles([bench.frames_of(CONTROL)[0]])))
    bench.step(giving)
    mfn = bench.host.frames.next_run(IN_FLIGHT, 0, 1)[0]
    assert bench.offline(mfn) == PG_OFFLINE_ANONYMOUS | PG_OFFLINE_FAILED | DOMID_INVALID << 16
    bench.finish(giving)
    assert bench.query(mfn) == PG_OFFLINE_STATUS_OFFLINED


@every_release
@pytest.mark.rule("C28")
def test_bad_ranges_are_refused_and_what_was_done_stays(name: str) -> None:
    """Beyond RAM, backwards, too long, an unknown command, an unprivileged caller: each has its errno."""
    bench = NumaHost(name)
    guest = bench.create()
    top = bench.host.total_pages
    free = bench.free
    for request, answer in (
        (PageOfflineOp(PAGE_OFFLINE, top, top), -Errno.EINVAL),
        (PageOfflineOp(PAGE_OFFLINE, 0xFFFF_FFFF, 0xFFFF_FFFF), -Errno.EINVAL),
        (PageOfflineOp(PAGE_OFFLINE, 5, 4), -Errno.EINVAL),
        (PageOfflineOp(PAGE_OFFLINE, 0, 0xFFFF_FFFF), -Errno.ENOMEM),
        (PageOfflineOp(7, 5, 5), -Errno.EINVAL),
    ):
        assert bench.ret(request) == answer
        assert bench.free == free
    assert bench.ret(PageOfflineOp(PAGE_OFFLINE, 5, 5), guest) == -Errno.EPERM
    highest = max(mfn + (1 << order) - 1 for mfn, order in bench.host.heap.free_blocks())
    assert highest == top - 1
    reply = bench.call(PageOfflineOp(PAGE_OFFLINE, highest, top + 1))
    assert reply.ret == -Errno.EINVAL
    assert reply.value == OfflineStatus((PG_OFFLINE_OFFLINED, PG_OFFLINE_INVALID, PG_OFFLINE_INVALID))
    assert bench.free == free - 1


@pytest.mark.parametrize("name", RELEASED)
@pytest.mark.rule("C28", "W9", "I3", "C14")
def test_no_release_recalls_a_claim_so_more_may_be_claimed_than_there_is(name: str) -> None:
    """After offlining under claims outstanding exceeds free, and then any claim of another passes."""
    bench = NumaHost(name)
    guest, other = bench.create(), bench.create()
    bench.leave_on_nodes(4, 0)
    assert bench.claim(guest, 3) == 0
    assert bench.claim(other, 3) == -Errno.ENOMEM
    for _ in range(2):
        bench.offline(bench.free_frame())
    assert (bench.free, bench.outstanding) == (2, 3)
    assert ("I3", "offlined") in bench.seen
    assert bench.claim(other, 1_000_000) == 0
    assert ("I3", "overclaim offlined") in bench.seen
    assert bench.grow(guest, 3) == 2  # promised three


@pytest.mark.rule("C23", "C27", "W9", "I3")
def test_an_extent_in_flight_excuses_no_excess_of_4_22() -> None:
    """Its claim was spent with it, so what exceeds free memory is what offlining took, in flight or not."""
    bench = NumaHost("4.22")
    guest = bench.create()
    bench.leave_on_nodes(4, 0)
    assert bench.claim(guest, 3) == 0
    for _ in range(2):
        bench.offline(bench.free_frame())
    increase = bench.submit(IncreaseReservation(guest.domid, 1))
    bench.step(increase)
    assert (bench.free, bench.host.in_flight_pages, bench.outstanding) == (1, 1, 2)
    assert [(one.invariant, one.form) for one in bench.breaks()] == [("I3", "offlined")]
    bench.finish(increase)
    assert [(one.invariant, one.form) for one in bench.breaks()] == [("I3", "offlined")]


@pytest.mark.rule("N7", "I3", "I11")
def test_claim_sets_recall_claims_by_ascending_domid() -> None:
    """A node's claims come down to what the node has left, then host-wide ones to what the host has left."""
    bench = NumaHost()
    first, second, third = bench.create(), bench.create(), bench.create()
    bench.leave_on_nodes(10, 10)
    assert bench.claim_set(third, {0: 4}) == 0
    assert bench.claim_set(second, {0: 3}, host_wide=6) == 0
    assert bench.claim_set(first, {0: 3}, host_wide=4) == 0
    for _ in range(4):  # node 0 has 6 left, all of its claims were 10
        bench.offline(bench.free_frame(0))
    assert [bench.held(one)[0] for one in (first, second, third)] == [{}, {0: 2}, {0: 4}]
    assert [bench.held(one)[1] for one in (first, second, third)] == [4, 6, 0]
    for _ in range(5):  # node 1 has 5 left: nobody claims it, but host-wide 10 were to come from it
        bench.offline(bench.free_frame(1))
    assert [bench.held(one)[1] for one in (first, second, third)] == [0, 5, 0]
    assert (bench.free, bench.outstanding) == (11, 11)
    assert bench.breaks() == ()


@pytest.mark.rule("N7", "I11")
@pytest.mark.parametrize("node", [0, 1])
def test_the_claims_recalled_are_those_on_the_frames_own_node(node: int) -> None:
    """A node's frame costs claims on that node only, while the other node is as tight."""
    bench = NumaHost()
    guest = bench.create()
    bench.leave_on_nodes(6, 6)
    assert bench.claim_set(guest, {0: 6, 1: 6}) == 0
    bench.offline(bench.free_frame(node))
    assert bench.held(guest) == ({0: 6, 1: 6} | {node: 5}, 0)


@pytest.mark.rule("N7", "W9", "I3", "I11")
def test_without_recall_offlining_leaves_more_claimed_than_the_node_has() -> None:
    """The historic design bug: the invariants of host and node break, and with the recall they hold."""

    def broken(**switches: bool) -> set[tuple[str, str]]:
        bench = NumaHost(**switches)
        guest = bench.create()
        bench.leave_on_nodes(4, 0)
        assert bench.claim_set(guest, {0: 4}) == 0
        bench.machine.run(bench.machine.submit(CONTROL, offline_frame(bench.free_frame())))
        return {(one.invariant, one.form) for one in bench.breaks()}

    assert broken(offlining_recalls_claims=False) == {("I3", "offlined"), ("I11", "cover")}
    assert broken() == set()


@pytest.mark.rule("N7", "C23")
def test_a_frame_that_goes_when_it_is_freed_recalls_nothing() -> None:
    """Its page was no free memory, so no claim was made on it."""
    bench = NumaHost()
    guest, other = bench.create(), bench.create()
    bench.grow_on(guest, 0, 3)
    bench.leave_on_nodes(5)
    assert bench.claim_set(other, {0: 5}) == 0
    frame = bench.frames_of(guest)[0]
    bench.offline(frame)
    assert bench.ret(DecreaseReservation(guest.domid, singles([frame]))) == 1
    assert (bench.node_free(0), bench.held(other)) == (5, ({0: 5}, 0))
