"""XENMEM_exchange: other frames for the same amount, always from unclaimed memory (A17)."""

from __future__ import annotations

import pytest

from hypervisor.core.steps import Caller
from hypervisor.public.domctl import DestroyDomain, Exchanged, MapForeign
from hypervisor.public.errors import Errno
from hypervisor.public.memory import MaximumGpfn, MemoryExchange, PopulatePhysmap
from hypervisor.public.units import DOMID_SELF, ULONG_MASK
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles

every_release = pytest.mark.parametrize("name", EVERY_RELEASE)


def singles_for_one(domid: int, frames: list[int], order: int = 3, done: int = 0) -> MemoryExchange:
    """Order-0 frames of a PV domain for extents of a larger order."""
    return MemoryExchange(
        domid, singles(frames), 0, domid, ((0, len(frames) >> order),), order, nr_exchanged=done
    )


def held(name: str, pages: int) -> tuple[SmallHost, Caller]:
    """A PV domain with this many pages."""
    bench = SmallHost(name)
    guest = bench.create()
    assert bench.grow(guest, pages) == pages
    return bench, guest


@every_release
@pytest.mark.rule("A17", "h33")
def test_an_exchange_moves_no_counter(name: str) -> None:
    """tot_pages, the claim and free are as before; the frames are others, of the wanted order."""
    bench, guest = held(name, 16)
    assert bench.claim(guest, 40) == 0
    before = (bench.free, bench.outstanding, 16, bench.frames_of(guest))
    reply = bench.call(singles_for_one(guest.domid, before[3]))
    assert reply.ret == 0
    assert isinstance(reply.value, Exchanged)
    assert reply.value.nr_exchanged == 16
    assert sum(count for _, count in reply.value.extents) == 2
    assert all(first % 8 == 0 for first, _ in reply.value.extents)
    frames = bench.frames_of(guest)
    assert (bench.free, bench.outstanding, bench.domain(guest.domid).tot_pages) == before[:3]
    assert len(frames) == 16
    assert frames != before[3]


@every_release
@pytest.mark.rule("A17", "C17", "C20", "h33")
def test_no_claim_helps_an_exchange(name: str) -> None:
    """The output is unclaimed memory, also for the domain that holds the claim: ENOMEM without it."""
    bench, guest = held(name, 8)
    bench.leave_free(32)
    assert bench.claim(guest, 8 + 25) == 0
    frames = bench.frames_of(guest)
    assert bench.unclaimed == 7
    assert bench.ret(singles_for_one(guest.domid, frames)) == -Errno.ENOMEM
    assert bench.frames_of(guest) == frames
    assert bench.claim(guest, 0) == 0
    assert bench.claim(guest, 8 + 24) == 0
    assert bench.ret(singles_for_one(guest.domid, frames)) == 0
    assert bench.outstanding == 24


@every_release
@pytest.mark.rule("A17")
def test_chunks_done_before_a_failure_stay(name: str) -> None:
    """The second chunk fails at a frame that is not the domain's; the first stays exchanged and is told."""
    bench, guest = held(name, 16)
    frames = bench.frames_of(guest)
    reply = bench.call(singles_for_one(guest.domid, [*frames[:15], 0]))
    assert reply.ret == -Errno.EINVAL
    assert isinstance(reply.value, Exchanged)
    assert reply.value.nr_exchanged == 8
    assert bench.domain(guest.domid).tot_pages == 16
    after = bench.frames_of(guest)
    assert set(frames[8:]) <= set(after)
    assert not set(frames[:8]) & set(after)


@every_release
@pytest.mark.rule("A17")
@pytest.mark.parametrize("done", [1, 7, 8, 9])
def test_a_resumed_exchange_starts_at_the_chunk_it_was_in(name: str, done: int) -> None:
    """nr_exchanged inside a chunk means that chunk from its first extent on."""
    bench, guest = held(name, 16)
    frames = bench.frames_of(guest)
    reply = bench.call(singles_for_one(guest.domid, frames, done=done))
    assert reply.ret == 0
    assert isinstance(reply.value, Exchanged)
    assert sum(count for _, count in reply.value.extents) == 2 - done // 8
    assert set(frames[: done // 8 * 8]) <= set(bench.frames_of(guest))


@every_release
@pytest.mark.rule("A17", "A5")
def test_refusals_in_their_order(name: str) -> None:
    """Order EPERM, sizes and domids EINVAL, unknown domain ESRCH, a stranger EPERM."""
    bench, guest = held(name, 8)
    frames = bench.frames_of(guest)
    domid = guest.domid

    def answer(request: MemoryExchange, caller: Caller = guest) -> int:
        return bench.ret(request, caller)

    assert answer(MemoryExchange(domid, ((0, 1),), 10, 99, ((0, 1),), 0)) == -Errno.EPERM
    assert answer(MemoryExchange(domid, ((0, 1),), 0, domid, ((0, 1),), 1)) == -Errno.EINVAL
    assert answer(MemoryExchange(domid, ((0, 1),), 0, DOMID_SELF, ((0, 1),), 0)) == -Errno.EINVAL
    assert answer(MemoryExchange(domid, ((0, 1),), 0, domid, ((0, 1),), 0, 0, 2)) == -Errno.EINVAL
    assert answer(MemoryExchange(domid, ((0, ULONG_MASK),), 1, domid, ((0, ULONG_MASK),), 1)) == -Errno.EINVAL
    assert answer(MemoryExchange(99, ((0, 1),), 0, 99, ((0, 1),), 0)) == -Errno.ESRCH
    stranger = bench.create()
    assert answer(singles_for_one(domid, frames), stranger) == -Errno.EPERM
    assert answer(MemoryExchange(DOMID_SELF, singles(frames), 0, DOMID_SELF, ((0, 1),), 3)) == 0


@every_release
@pytest.mark.rule("A17")
def test_a_frame_named_twice_or_mapped_by_another_cannot_be_stolen(name: str) -> None:
    """Both are EINVAL and the domain keeps what it had."""
    bench, guest = held(name, 8)
    frames = bench.frames_of(guest)
    assert bench.ret(singles_for_one(guest.domid, [*frames[:7], frames[0]])) == -Errno.EINVAL
    assert bench.ret(MapForeign(guest.domid, ((frames[3], 1),))) == 0
    assert bench.ret(singles_for_one(guest.domid, frames)) == -Errno.EINVAL
    assert bench.frames_of(guest) == frames


@every_release
@pytest.mark.rule("A17")
def test_a_stolen_page_cannot_be_mapped(name: str) -> None:
    """Between steal and the end of the exchange the page is nobody's: a foreign mapping is EINVAL."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.populate(guest, 0, 8) == 8
    exchange = bench.submit(MemoryExchange(guest.domid, ((0, 8),), 0, guest.domid, ((0, 1),), 3))
    bench.step(exchange)
    assert bench.ret(MapForeign(guest.domid, ((2, 1),))) == -Errno.EINVAL
    assert bench.finish(exchange).ret == 0


@every_release
@pytest.mark.rule("A17", "P10")
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_kill_in_the_middle_loses_no_page(name: str, steps: int) -> None:
    """Whatever an exchange holds when its domain is destroyed comes back to the heap."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    free = bench.free
    assert bench.populate(guest, 0, 16) == 16
    exchange = bench.submit(MemoryExchange(guest.domid, ((0, 8),), 0, guest.domid, ((0, 8),), 0))
    for _ in range(steps):
        bench.step(exchange)
    while bench.ret(DestroyDomain(guest.domid)) == -Errno.EAGAIN:
        pass
    bench.finish(exchange)
    assert bench.host.find(guest.domid) is None
    assert bench.free > free  # its structures came back too


@every_release
@pytest.mark.rule("A17", "A8")
def test_a_gfn_populated_meanwhile_keeps_its_new_page(name: str) -> None:
    """free input unmaps the stolen page, not one that a populate put at the same gfn in between."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.populate(guest, 0, 1) == 1
    exchange = bench.submit(MemoryExchange(guest.domid, ((0, 1),), 0, guest.domid, ((5, 1),), 0))
    bench.step(exchange)
    assert bench.ret(PopulatePhysmap(guest.domid, ((0, 1),))) == 1
    assert bench.finish(exchange).ret == 0
    physmap = bench.domain(guest.domid).p2m
    assert physmap is not None
    assert [gfn for gfn, _, _ in physmap.leaves()] == [0, 5]


@every_release
@pytest.mark.rule("A17")
def test_output_beyond_the_physmap_is_not_mapped(name: str) -> None:
    """A gfn that no physmap can hold leaves the page the domain's, unmapped, and answers stay in range."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.populate(guest, 0, 1) == 1
    far = ULONG_MASK - 1
    request = MemoryExchange(guest.domid, ((0, 1),), 0, guest.domid, ((far, 1),), 0)
    assert bench.ret(request, guest) == 0
    domain = bench.domain(guest.domid)
    assert domain.tot_pages == 1
    assert domain.p2m is not None
    assert domain.p2m.entries == 0
    assert bench.ret(MaximumGpfn(guest.domid), guest) < 1 << 36
    assert bench.host.digest()
