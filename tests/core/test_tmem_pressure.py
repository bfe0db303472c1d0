"""tmem between free lists and claims: eviction, the allocator's fallback, what a claim does not stop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hypervisor.core.releases import RELEASES
from hypervisor.core.steps import Caller
from hypervisor.core.transitions import Auditor
from hypervisor.public.domctl import DestroyDomain, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, IncreaseReservation
from hypervisor.public.requests import VirqEvent
from hypervisor.public.tmem import TMEM_EPHEMERAL, TMEM_FLUSH, TMEM_PERSISTENT, TMEM_QUERY_FREEABLE_MB
from hypervisor.public.units import VIRQ_ENOMEM, pages_to_kib
from tests.core.tmem_host import TmemHost

WITH_TMEM = ("4.3", "4.12")


@pytest.mark.rule("C14", "C17", "T19")
@pytest.mark.parametrize("name", WITH_TMEM)
def test_what_tmem_could_give_counts_as_available_to_claims(name: str) -> None:
    """free + freeable - outstanding is what a claim is measured against, to the page."""
    bench = TmemHost(name)
    guest, builder = bench.client(), bench.create()
    pool = bench.pool(guest)
    for index in range(300):
        bench.put(guest, pool, 1, index)
    available = bench.free + bench.tmem.freeable
    assert bench.claim(builder, available + 1) == -Errno.ENOMEM
    assert bench.claim(builder, available) == 0
    assert bench.control(TMEM_QUERY_FREEABLE_MB) == bench.tmem.freeable // 256 == 1


@pytest.mark.rule("A25", "A26", "T26", "A12")
@pytest.mark.parametrize("name", WITH_TMEM)
def test_a_squeezed_host_serves_single_pages_out_of_tmem(name: str) -> None:
    """At midsize a populate leaves free alone and evicts; order 9 is refused; orders 1 to 8 use the heap."""
    bench = TmemHost(name, pages=8192)
    guest = bench.client()
    bench.squeeze(guest, bench.pool(guest))
    builder = bench.create()
    free, freeable = bench.free, bench.tmem.freeable
    assert bench.grow(builder, 5) == 5
    assert (bench.free, bench.tmem.freeable) == (free, freeable - 5)
    assert bench.grow(builder, 512, order=9) == 0
    assert bench.grow(builder, 4, order=2) == 1
    assert bench.free == free - 4


@pytest.mark.rule("T15", "A12")
def test_a_populate_refused_at_max_moves_a_page_to_the_heap() -> None:
    """The page came out of tmem and goes back to the free lists: free +1, freeable -1 (recording t26)."""
    bench = TmemHost(pages=8192)
    guest = bench.client()
    bench.squeeze(guest, bench.pool(guest))
    full = bench.create(max_pages=0)
    free, freeable = bench.free, bench.tmem.freeable
    assert bench.grow(full, 1) == 0
    assert (bench.free, bench.tmem.freeable) == (free + 1, freeable - 1)


@pytest.mark.rule("T21", "T29", "T31")
def test_filling_stops_above_midsize_and_recycles_the_oldest() -> None:
    """Ephemeral puts stop at free = midsize + 255; from then on each evicts the oldest page of all."""
    bench = TmemHost(pages=8192)
    guest = bench.client()
    pool = bench.pool(guest)
    bench.leave_free(bench.tmem.midsize + 400)
    for index in range(400):
        assert bench.put(guest, pool, index // 50, index % 50, content=index) == 1
    assert bench.free <= bench.tmem.midsize + 256
    assert bench.tmem.statistics.evicted > 0
    assert bench.get(guest, pool, 0, 0) is None
    assert bench.get(guest, pool, 7, 49) == 399


@pytest.mark.rule("T21")
def test_a_put_that_finds_no_room_is_enomem_in_412_only() -> None:
    """With nothing to evict 4.12 refuses after ten attempts, and 4.3 tries all the same."""
    for name, answer in (("4.12", -Errno.ENOMEM), ("4.3", 1)):
        bench = TmemHost(name)
        guest = bench.client()
        pool = bench.pool(guest, TMEM_PERSISTENT)
        bench.leave_free(bench.tmem.midsize + 100)
        assert bench.put(guest, pool, 1, 0) == answer
        assert bench.tmem.statistics.evict_attempts >= 10


@pytest.mark.rule("T23", "C28", "P6")
@pytest.mark.parametrize("name", WITH_TMEM)
def test_a_persistent_put_from_the_list_goes_past_every_claim(name: str) -> None:
    """With all memory claimed, a page of the list still goes to somebody else's persistent pool."""
    bench = TmemHost(name)
    guest, builder = bench.client(), bench.create()
    ephemeral, persistent = bench.pool(guest), bench.pool(guest, TMEM_PERSISTENT)
    for index in range(10):
        bench.put(guest, ephemeral, 1, index)
    assert bench.flush_object(guest, ephemeral, 1) == 1
    assert bench.claim(builder, bench.free + bench.tmem.freeable) == 0
    assert bench.grow(guest, 1) == 0
    assert bench.put(guest, persistent, 1, 0, content=3) == 1
    assert bench.outstanding == bench.free + bench.tmem.freeable + 2
    assert ("I3", "donated") in bench.seen


@pytest.mark.rule("P6", "T22")
def test_a_put_that_passed_the_look_loses_its_page_to_a_populate() -> None:
    """Between the unlocked look at max_pages and the donation a populate takes the last place: ENOMEM."""
    bench = TmemHost()
    guest = bench.client()
    ephemeral, pool = bench.pool(guest), bench.pool(guest, TMEM_PERSISTENT)
    bench.put(guest, pool, 1, 0)
    for index in range(5):
        bench.put(guest, ephemeral, 1, index)
    bench.flush_object(guest, ephemeral, 1)
    tot = bench.domain(guest.domid).tot_pages
    bench.ret(MaxMem(guest.domid, pages_to_kib(tot + 2)))
    running = bench.submit(bench.request(guest, pool, 1, 1, 4), guest)
    bench.step_until(running, "donate")
    assert bench.finish(bench.submit(IncreaseReservation(guest.domid, 2))).ret == 2
    listed = len(bench.tmem.page_list)
    assert bench.finish(running).ret == -Errno.ENOMEM
    assert len(bench.tmem.page_list) == listed + 1
    assert bench.get(guest, pool, 1, 1) is None


@pytest.mark.rule("P7", "C17", "T20")
def test_an_ephemeral_put_is_held_back_by_a_claim_made_meanwhile() -> None:
    """The list is empty, so the page comes from the heap as an anonymous one; a claim got there first."""
    bench = TmemHost()
    guest, builder = bench.client(), bench.create()
    pool = bench.pool(guest)
    running = bench.submit(bench.request(guest, pool, 1, 0, 4), guest)
    bench.step_until(running, "take")
    assert bench.finish(bench.submit(ClaimPages(builder.domid, bench.free))).ret == 0
    assert bench.finish(running).ret == -Errno.ENOMEM


@pytest.mark.rule("T15")
@pytest.mark.parametrize(("kib", "pages"), [(0, 0), (1, 1), (4, 1), (5, 2), (2**32 - 1, 0), (40_000, 103)])
def test_flush_gives_the_whole_list_to_the_heap(kib: int, pages: int) -> None:
    """FLUSH evicts until the list is long enough or nothing is left, then empties it; KiB wrap at 2^32."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest)
    for index in range(100):
        bench.put(guest, pool, 1, index)
    assert bench.tmem.freeable == 103
    free = bench.free
    answer = bench.control(TMEM_FLUSH, arg=kib)
    assert answer == 4 * (bench.free - free)
    assert bench.free - free >= pages
    assert not bench.tmem.page_list
    assert bench.control(TMEM_FLUSH, guest.domid, 4) == -1


@pytest.mark.rule("A27", "C14")
def test_freeable_memory_delays_the_low_memory_virq() -> None:
    """The VIRQ looks at free + freeable - claims, so a host full of ephemeral pages is not low on memory."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest)
    for index in range(500):
        bench.put(guest, pool, 1, index)
    bench.host.low_memory.set_up(512, 10_000)
    bench.leave_free(300)
    grower = bench.create()
    before = bench.tmem.freeable
    bench.auditor = Auditor(bench.host)
    results = [bench.step(bench.submit(IncreaseReservation(grower.domid, 1))) for _ in range(3)]
    assert bench.tmem.freeable == before
    events = [emission.event for result in results for emission in result.emissions]
    assert not any(isinstance(event, VirqEvent) and event.virq == VIRQ_ENOMEM for event in events)


def two_clients(as_written: bool) -> tuple[TmemHost, tuple[Caller, int], tuple[Caller, int]]:
    """A small client of weight 100 with the oldest pages, and a large one of weight 1; memory is full."""
    bench = TmemHost(replace(RELEASES["4.12"], tmem_quota_as_written=as_written), pages=8192)
    a, b = bench.client(), bench.client()
    pool_a, pool_b = bench.pool(a), bench.pool(b)
    bench.leave_free(bench.tmem.midsize + 500)
    for index in range(40):
        bench.put(a, pool_a, index // 20, index % 20)
    index = 0
    while not bench.tmem.statistics.evicted:
        bench.put(b, pool_b, index // 50, index % 50)
        index += 1
    for client, weight in ((a, 100), (b, 1)):
        bench.tmem.clients[client.domid].weight = weight
    bench.tmem.weight_total = 101
    return bench, (a, pool_a), (b, pool_b)


def lost_by(bench: TmemHost, who: tuple[Caller, int], other: tuple[Caller, int]) -> tuple[int, int]:
    """Five puts of `who`: pages that it and the other lose by them."""
    clients = bench.tmem.clients
    mine, theirs = clients[who[0].domid].eph_count, clients[other[0].domid].eph_count
    for extra in range(5):
        assert bench.put(*who, 1000, extra) == 1
    return mine + 5 - clients[who[0].domid].eph_count, theirs - clients[other[0].domid].eph_count


@pytest.mark.rule("T29", "T30", "T16")
def test_over_quota_is_below_the_share_of_weight() -> None:
    """As coded, a client with less than its share loses its own page when it puts (recording t90)."""
    bench, small, large = two_clients(as_written=True)
    own, others = lost_by(bench, small, large)
    assert own > 0
    assert others == 0
    own, others = lost_by(bench, large, small)  # not over quota: the oldest of all goes
    assert own == 0
    assert others > 0


@pytest.mark.rule("T30")
def test_the_quota_can_be_what_its_name_says() -> None:
    """With the switch off, a client above its share loses its own pages and nobody else does."""
    bench, small, large = two_clients(as_written=False)
    own, others = lost_by(bench, large, small)
    assert own > 0
    assert others == 0


@pytest.mark.rule("T23", "T9")
def test_a_host_without_memory_makes_no_pool() -> None:
    """NEW_POOL needs memory of Xen's own: ENOMEM when all is claimed, and nothing is left behind."""
    bench = TmemHost()
    guest, builder = bench.client(), bench.create()
    bench.pool(guest)
    assert bench.claim(builder, bench.free) == 0
    assert bench.pool(guest, TMEM_EPHEMERAL) == -Errno.ENOMEM
    assert bench.tmem.clients[guest.domid].nr_pools == 1


@pytest.mark.rule("T29")
@pytest.mark.parametrize("name", WITH_TMEM)
def test_a_put_never_evicts_from_the_object_it_has_locked(name: str) -> None:
    """Below midsize, with one object holding all pages, a put into it finds none; into another it does."""
    bench = TmemHost(name, pages=8192)
    guest, mid = bench.client(), bench.create()
    pool = bench.pool(guest)
    bench.leave_free(bench.tmem.midsize + 400)
    for index in range(300):
        assert bench.put(guest, pool, 1, 5 * 64 + index) == 1
    while bench.free >= bench.tmem.midsize:
        assert bench.grow(mid, 2, order=1) == 1
    bench.control(TMEM_FLUSH)
    while bench.free >= bench.tmem.midsize:
        assert bench.grow(mid, 2, order=1) == 1
    assert not bench.tmem.page_list
    assert bench.put(guest, pool, 1, 2**31) == -Errno.ENOMEM
    assert bench.put(guest, pool, 2, 0, content=9) == 1
    assert bench.get(guest, pool, 2, 0) == 9


@pytest.mark.rule("T23", "C21", "C26")
@pytest.mark.parametrize("name", WITH_TMEM)
def test_a_page_from_the_list_draws_the_domains_own_claim_down(name: str) -> None:
    """donate_page consumes the claim of the domain it goes to, as a page of the heap would."""
    bench = TmemHost(name)
    guest = bench.client()
    ephemeral, persistent = bench.pool(guest), bench.pool(guest, TMEM_PERSISTENT)
    for index in range(10):
        bench.put(guest, ephemeral, 1, index)
    bench.flush_object(guest, ephemeral, 1)
    assert bench.claim(guest, 21) == 0
    free = bench.free
    assert bench.put(guest, persistent, 1, 0) == 1
    assert (bench.free, bench.outstanding) == (free, 18)


@pytest.mark.rule("T23", "T28", "P6")
def test_a_page_is_not_donated_to_a_domain_killed_meanwhile() -> None:
    """The kill comes between the list and the donation: ENOMEM, and the page is back on the list."""
    bench = TmemHost()
    guest = bench.client()
    ephemeral, persistent = bench.pool(guest), bench.pool(guest, TMEM_PERSISTENT)
    for index in range(10):
        bench.put(guest, ephemeral, 1, index)
    bench.flush_object(guest, ephemeral, 1)
    running = bench.submit(bench.request(guest, persistent, 1, 0, 4), guest)
    bench.step_until(running, "donate")
    killing = bench.submit(DestroyDomain(guest.domid))
    bench.step(killing)
    assert not bench.machine.is_runnable(killing), "the flush waits for the put"
    assert bench.finish(running).ret == -Errno.ENOMEM
    assert bench.finish(killing).ret == 0
    assert bench.host.find(guest.domid) is None
    assert bench.tmem.in_use == 0
