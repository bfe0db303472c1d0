"""Every break that the table permits really happens on the release it names: the table is not too wide."""

from __future__ import annotations

import pytest

from hypervisor.core.invariants import PERMITS
from hypervisor.core.releases import RELEASES
from hypervisor.core.steps import Caller
from hypervisor.public.domctl import (
    CreateDomain,
    DestroyDomain,
    Frames,
    MapForeign,
    MaxMem,
    SetPagingMempoolSize,
    UnmapForeign,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    MEMF_POPULATE_ON_DEMAND,
    DecreaseReservation,
    IncreaseReservation,
    MemoryExchange,
    PopulatePhysmap,
)
from hypervisor.public.offlining import PAGE_OFFLINE, PageOfflineOp
from hypervisor.public.tmem import TMEM_PERSISTENT
from hypervisor.public.units import PAGE_SIZE
from tests.core.sharing_host import SharingHost
from tests.core.sharing_scenes import SHARING_SCENES
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles
from tests.core.tmem_host import TmemHost


def destroy(bench: SmallHost, who: Caller) -> None:
    while bench.ret(DestroyDomain(who.domid)) == -Errno.EAGAIN:
        pass


def a_claim_on_a_zombie(bench: SmallHost) -> None:
    guest = bench.create()
    bench.grow(guest, 2)
    mapped = bench.call(MapForeign(guest.domid, singles(bench.frames_of(guest)[:1]))).value
    assert isinstance(mapped, Frames)
    assert bench.claim(guest, 5) == 0
    destroy(bench, guest)
    bench.claim(guest, 9)
    bench.ret(UnmapForeign(guest.domid, mapped.extents))


def an_overclaim_in_the_window(bench: SmallHost) -> None:
    guest, other = bench.create(), bench.create()
    bench.leave_free(20)
    bench.claim(guest, 20)
    running = bench.submit(IncreaseReservation(guest.domid, 1))
    bench.step(running)
    bench.claim(other, 1_000_000)
    bench.finish(running)
    bench.grow(guest, 2)


def one_claim_leaned_on_twice(bench: SmallHost) -> None:
    a, b = bench.create(), bench.create()
    bench.leave_free(8)
    bench.claim(a, 4)
    bench.claim(b, 4)
    running = [bench.submit(IncreaseReservation(a.domid, 1, 2)) for _ in range(2)]
    for one in running:
        bench.step(one)
    for one in running:
        bench.finish(one)


def a_populate_refused_at_max(bench: SmallHost) -> None:
    guest = bench.create()
    bench.leave_free(70)
    bench.claim(guest, 8)
    bench.ret(MaxMem(guest.domid, 0))
    assert bench.grow(guest, 8, order=3) == 0


def a_decrease_that_meets_a_hole(bench: SmallHost) -> None:
    guest = bench.create(hvm=True)
    bench.populate(guest, 0, 1)
    bench.claim(guest, 10)
    assert bench.ret(DecreaseReservation(guest.domid, ((0, 1),), 1)) == 0


def a_decrease_that_meets_entries_and_a_hole(bench: SmallHost) -> None:
    guest = bench.create(hvm=True)
    assert bench.ret(PopulatePhysmap(guest.domid, ((1, 1),), 0, MEMF_POPULATE_ON_DEMAND)) == 1
    assert bench.ret(DecreaseReservation(guest.domid, ((0, 1),), 9)) == 0


def an_exchange_short_of_memory(bench: SmallHost) -> None:
    guest, other = bench.create(), bench.create()
    bench.grow(guest, 2, order=1)
    first = bench.frames_of(guest)[0]
    bench.leave_free(66)
    bench.claim(other, 65)
    request = MemoryExchange(guest.domid, ((first, 1),), 1, guest.domid, ((0, 2),), 0)
    assert bench.ret(request) == -Errno.ENOMEM


def an_exchange_that_fails_at_its_second_chunk(bench: SmallHost) -> None:
    guest = bench.create(hvm=True)
    bench.populate(guest, 0, 1)
    bench.leave_free(65)
    request = MemoryExchange(guest.domid, ((0, 2),), 0, guest.domid, ((5, 2),), 0)
    assert bench.ret(request) == -Errno.EINVAL


def a_createdomain_short_of_memory(bench: SmallHost) -> None:
    bench.leave_free(3)
    assert bench.ret(CreateDomain()) == -Errno.ENOMEM


def a_pool_short_of_memory(bench: SmallHost) -> None:
    guest = bench.create(hvm=True, hap=True)
    bench.leave_free(3)
    assert bench.ret(SetPagingMempoolSize(guest.domid, 500 * PAGE_SIZE)) == -Errno.ENOMEM


def an_unmap_that_meets_a_frame_not_mapped(bench: SmallHost) -> None:
    guest = bench.create()
    bench.grow(guest, 2)
    frames = singles(bench.frames_of(guest))
    bench.ret(MapForeign(guest.domid, frames[:1]))
    bench.claim(guest, 10)
    bench.ret(DecreaseReservation(guest.domid, frames[:1]))
    assert bench.ret(UnmapForeign(guest.domid, frames)) == -Errno.EINVAL


def a_page_of_the_tmem_list_past_a_claim(bench: TmemHost) -> None:
    guest, builder = bench.client(), bench.create()
    ephemeral, persistent = bench.pool(guest), bench.pool(guest, TMEM_PERSISTENT)
    for index in range(9):
        bench.put(guest, ephemeral, 1, index)
    bench.flush_object(guest, ephemeral, 1)
    bench.claim(builder, bench.free + bench.tmem.freeable)
    assert bench.put(guest, persistent, 1, 0) == 1


def a_populate_refused_at_max_on_a_squeezed_host(bench: TmemHost) -> None:
    guest, full = bench.client(), bench.create(max_pages=0)
    bench.squeeze(guest, bench.pool(guest))
    assert bench.grow(full, 1) == 0


def offlining_under_claims(bench: SmallHost) -> None:
    guest, other = bench.create(), bench.create()
    bench.leave_free(70)
    bench.claim(guest, 70)
    free = [mfn for mfn, _ in bench.host.heap.free_blocks()]
    bench.ret(PageOfflineOp(PAGE_OFFLINE, free[0], free[0]))
    bench.claim(other, 1_000_000)
    bench.grow(guest, 64, order=6)
    bench.grow(guest, 3)


def an_offlining_that_meets_xens_image(bench: SmallHost) -> None:
    guest, filler = bench.create(), bench.leave_free(0)
    highest = bench.frames_of(filler)[-1]
    bench.ret(DecreaseReservation(filler.domid, ((highest, 1),)))
    bench.claim(guest, 1)
    assert bench.ret(PageOfflineOp(PAGE_OFFLINE, highest, bench.host.total_pages - 1)) == -Errno.EPERM


def a_claim_under_an_allocation_in_flight(bench: SmallHost) -> None:
    guest = bench.create(max_pages=100)
    bench.claim(guest, 100)
    running = bench.submit(IncreaseReservation(guest.domid, 1, 5))
    bench.step(running)
    bench.claim(guest, 0)
    bench.claim(guest, 100)
    bench.finish(running)


def a_claim_and_unclaimed_pages_together(bench: SmallHost) -> None:
    guest = bench.create()
    bench.leave_free(5)
    bench.claim(guest, 2)
    bench.grow(guest, 4, order=2)


TMEM_SCENES = (a_page_of_the_tmem_list_past_a_claim, a_populate_refused_at_max_on_a_squeezed_host)
SCENES = (
    a_claim_on_a_zombie,
    an_overclaim_in_the_window,
    one_claim_leaned_on_twice,
    a_populate_refused_at_max,
    a_decrease_that_meets_a_hole,
    a_decrease_that_meets_entries_and_a_hole,
    an_exchange_short_of_memory,
    an_exchange_that_fails_at_its_second_chunk,
    a_createdomain_short_of_memory,
    a_pool_short_of_memory,
    an_unmap_that_meets_a_frame_not_mapped,
    offlining_under_claims,
    an_offlining_that_meets_xens_image,
    a_claim_under_an_allocation_in_flight,
    a_claim_and_unclaimed_pages_together,
)


@pytest.mark.parametrize("name", EVERY_RELEASE)
@pytest.mark.rule(
    "I2",
    "I3",
    "I5",
    "I6",
    "I9",
    "C9",
    "C14",
    "C23",
    "C27",
    "C28",
    "A11",
    "A17",
    "A27",
    "A31",
    "T23",
    "N5",
    "N7",
    "W9",
    "S6",
    "S9",
    "A29",
    "A30",
)
def test_every_permitted_break_can_be_shown(name: str) -> None:
    """Short scenes together show all that the table permits the release, and nothing else."""
    seen: set[tuple[str, str]] = set()
    for scene in SCENES:
        bench = SmallHost(name, low_mem_virq_pages=64)
        scene(bench)
        seen |= bench.seen
    for sharing_scene in SHARING_SCENES:
        sharing_bench = SharingHost(name, low_mem_virq_pages=64)
        sharing_scene(sharing_bench)
        seen |= sharing_bench.seen
    for tmem_scene in TMEM_SCENES if RELEASES[name].tmem else ():
        tmem_bench = TmemHost(name)
        tmem_scene(tmem_bench)
        seen |= tmem_bench.seen
    assert seen == {(one.invariant, one.form) for one in PERMITS if name in one.releases}
