"""Page cache, cleancache and frontswap of a running kernel, on the real core in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from guests.config import ConstantSpec, FileSpec, SelfBalloonSpec, SquareSpec
from guests.kernel.page_cache import PageCache
from guests.report import GuestReport
from hypervisor.core.tmem.content import Page
from hypervisor.public.tmem import (
    TMEM_FLUSH,
    TMEM_FREEZE,
    TmemControl,
    TmemDestroyPool,
    TmemFlushObject,
    TmemFlushPage,
    TmemGetPage,
    TmemPutPage,
)
from hypervisor.public.units import PAGES_PER_MIB, Pages
from tests.toolstack.virtual_toolstack import ReleaseHost
from tests.virtual_host import Guest

MIB = PAGES_PER_MIB
FILES = FileSpec(pages=3000, rate=400.0, exponent=0.8, files=10)
SURGE = SquareSpec(low=1000, high=3000, period=200.0, phase=0.5)
"""Low until second 100, high until 200."""


def tmem_host(ram: Pages = 256 * MIB) -> ReleaseHost:
    return ReleaseHost(ram, name="4.12", tmem=True)


def reader(host: ReleaseHost, **changes: Any) -> Guest:
    """1,000 pages of programs in 2,000 of memory: the page cache has 1,000, the files have 3,000."""
    settings = {"workload": ConstantSpec(1000), "self_sizing": False, "files": FILES, "tick": 1.0}
    return Guest(host, 2000, 4000, **{**settings, "cleancache": True, **changes})


def swapper(host: ReleaseHost, **changes: Any) -> Guest:
    """2,000 pages of memory, of which 1,000 are asked for until second 100, then 3,000."""
    settings = {"workload": SURGE, "self_sizing": False, "swap": 5000, "tick": 1.0, "batch": 16}
    return Guest(host, 2000, 4000, **{**settings, "frontswap": True, **changes})


def nothing_wrong(report: GuestReport) -> bool:
    """I7: no get brought anything but what was put, and nothing persistent was lost."""
    return report.stale_pages == report.lost_pages == 0


def stored(host: ReleaseHost, domid: int) -> list[Page]:
    """The pages that tmem holds for a domain."""
    tmem = host.simulator.machine.host.tmem
    assert tmem is not None
    pools = [pool for pool in tmem.clients[domid].pools if pool is not None]
    return [page for pool in pools for obj in pool.objects.values() for page in obj.pages.values()]


# ---- page cache and cleancache


@pytest.mark.rule("G14")
def test_pages_evicted_from_the_page_cache_are_put_and_refaults_get_them() -> None:
    """With room in tmem every refault after the first read is a hit, and nothing is read from disk twice."""
    host = tmem_host()
    guest = reader(host)
    host.run_until(60.0)
    report = guest.report()
    assert report.cleancache_puts > 3000 and report.cleancache_puts_refused == 0
    assert report.cleancache_hits > 2000
    assert (report.cleancache_misses, nothing_wrong(report)) == (0, True)
    assert report.file_reads <= 3000
    lookups = report.file_references - report.page_cache_hits
    assert lookups == report.cleancache_hits + report.file_reads
    assert 0 < len(stored(host, guest.domid)) <= 2000
    assert guest.tot_pages() == 2000  # ephemeral pages are nobody's (G17)


def test_without_cleancache_every_refault_reads_the_disk() -> None:
    """The same guest without tmem asks nothing of the hypervisor and reads pages again and again."""
    host = tmem_host()
    guest = reader(host, cleancache=False)
    host.run_until(60.0)
    report = guest.report()
    assert report.file_reads == report.file_references - report.page_cache_hits > 6000
    assert not [request for _, request in guest.sent if isinstance(request, TmemPutPage | TmemGetPage)]


def test_a_kernel_on_a_host_without_tmem_reads_the_disk() -> None:
    """cleancache and frontswap find no pool on 4.17, and the guest lives on without them."""
    host = ReleaseHost()
    guest = reader(host, frontswap=True, workload=SURGE, swap=5000)
    host.run_until(150.0)
    report = guest.report()
    assert report.file_reads > 0 and report.disk_swap_out > 0
    assert (report.cleancache_puts, report.frontswap_stores, report.frontswap_refused) == (0, 0, 0)
    assert not [one for _, one in guest.sent if isinstance(one, TmemPutPage | TmemGetPage | TmemFlushPage)]


@pytest.mark.rule("G14", "T11")
def test_truncated_files_are_flushed_and_never_come_back() -> None:
    """After a truncation no get brings the old content, however the flush falls between puts and gets."""
    host = tmem_host()
    spec = FileSpec(pages=3000, rate=400.0, exponent=0.8, files=10, truncate_every=2.0)
    guest = reader(host, files=spec)
    host.run_until(60.0)
    report = guest.report()
    assert report.cleancache_flushes > 20
    assert sum(isinstance(request, TmemFlushObject) for _, request in guest.sent) == report.cleancache_flushes
    assert report.cleancache_hits > 1000 and report.cleancache_misses > 500
    assert nothing_wrong(report)


@pytest.mark.rule("T11", "T14")
def test_a_frozen_cache_starves() -> None:
    """Frozen, every hit takes its page out and no put brings one in: hits die away (H9)."""
    host = tmem_host()
    guest = reader(host)
    host.run_until(30.0)
    warm = guest.report()
    host.control(TmemControl(TMEM_FREEZE))
    host.run_until(70.0)
    middle = guest.report()
    host.run_until(90.0)
    cold = guest.report()
    assert middle.cleancache_puts_refused > 500
    assert warm.cleancache_hits / 30 > 2 * (cold.cleancache_hits - middle.cleancache_hits) / 20
    assert cold.cleancache_misses > middle.cleancache_misses > warm.cleancache_misses
    assert nothing_wrong(cold)


@pytest.mark.rule("T15", "T31")
def test_what_tmem_evicts_is_a_miss_never_a_wrong_page() -> None:
    """A flush of all ephemeral memory turns later gets into misses."""
    host = tmem_host()
    guest = reader(host)
    host.run_until(20.0)
    before = guest.report()
    host.control(TmemControl(TMEM_FLUSH, arg=10_000 * 4))
    host.run_until(25.0)
    after = guest.report()
    assert before.cleancache_misses == 0 < after.cleancache_misses
    assert nothing_wrong(after)


@pytest.mark.rule("G14", "G18")
def test_the_balloon_gives_pages_back_only_after_their_contents_are_put() -> None:
    """Between a lower target and the decrease that follows, the page cache that has no room is put."""
    host = tmem_host()
    guest = reader(host)
    host.run_until(30.0)
    before = len(guest.sent)
    host.set_target(guest.domid, 1400)
    host.run_until(31.0)
    kinds = [type(request).__name__ for _, request in guest.sent[before:]]
    assert kinds.index("DecreaseReservation") > kinds.index("TmemPutPage")
    assert kinds[: kinds.index("DecreaseReservation")].count("TmemPutPage") >= 500


# ---- frontswap


@pytest.mark.rule("G15", "G17", "T22")
def test_swapped_pages_go_to_tmem_and_count_in_tot_pages() -> None:
    """1,000 pages that memory has no room for are stored, raise tot_pages, and all come back as they were."""
    host = tmem_host()
    guest = swapper(host)
    host.run_until(150.0)
    high = guest.report()
    assert (high.swapped_pages, high.frontswap_stores, high.disk_swap_out) == (1000, 1000, 0)
    assert guest.tot_pages() > 2000 + 1000  # and the metadata
    host.set_target(guest.domid, 3000)
    host.run_until(190.0)
    after = guest.report()
    assert (after.swapped_pages, after.frontswap_loads, after.disk_swap_in) == (0, 1000, 0)
    assert nothing_wrong(after)
    assert stored(host, guest.domid) == []
    assert guest.tot_pages() == 3000


@pytest.mark.rule("G17", "T22")
def test_a_lowered_maximum_sends_every_store_to_disk() -> None:
    """At max_pages tmem refuses each store, and the page goes to real swap: the swap storm of the debate."""
    host = tmem_host()
    guest = swapper(host)
    host.run_until(90.0)
    host.set_max(guest.domid, 2000)
    host.run_until(150.0)
    report = guest.report()
    assert (report.frontswap_stores, report.frontswap_refused, report.disk_swap_out) == (0, 1000, 1000)
    host.set_max(guest.domid, 4000)
    host.set_target(guest.domid, 3000)
    host.run_until(199.0)
    back = guest.report()
    assert (back.swapped_pages, back.disk_swap_in, nothing_wrong(back)) == (0, 1000, True)


@pytest.mark.rule("G15", "T10")
def test_a_frozen_client_swaps_to_disk_and_still_loads_what_it_stored() -> None:
    """Freeze refuses new stores; gets of persistent pages go on."""
    host = tmem_host()
    guest = swapper(host)
    host.run_until(101.5)
    assert guest.report().frontswap_stores == 1000
    host.control(TmemControl(TMEM_FREEZE))
    host.set_target(guest.domid, 1500)
    host.run_until(150.0)
    frozen = guest.report()
    assert (frozen.frontswap_stores, frozen.frontswap_refused, frozen.disk_swap_out) == (1000, 500, 500)
    host.set_target(guest.domid, 3000)
    host.run_until(195.0)
    report = guest.report()
    assert (report.frontswap_loads, report.disk_swap_in, nothing_wrong(report)) == (1000, 500, True)


@pytest.mark.rule("G15")
def test_pages_that_programs_let_go_are_invalidated() -> None:
    """When demand falls again, what lay in frontswap is flushed and leaves tot_pages."""
    host = tmem_host()
    guest = swapper(host)
    host.run_until(210.0)
    assert guest.report().swapped_pages == 0
    assert stored(host, guest.domid) == []
    assert guest.tot_pages() == 2000
    assert sum(isinstance(request, TmemFlushPage) for _, request in guest.sent) == 1000


@pytest.mark.rule("G13", "G18")
def test_selfshrinking_brings_frontswap_back_into_memory() -> None:
    """With self-ballooning, stored pages stay until the balloon has made room and selfshrink calls them."""
    host = tmem_host()
    guest = swapper(host, self_sizing=True, selfballoon=SelfBalloonSpec(min_usable=100))
    host.run_until(104.0)
    surge = guest.report()
    assert surge.frontswap_stores > 0 and surge.swapped_pages > 0
    host.run_until(110.0)
    assert guest.report().swapped_pages == surge.swapped_pages  # there is room, and nobody called
    host.run_until(190.0)
    report = guest.report()
    assert 0 < report.swapped_pages < surge.swapped_pages / 2
    assert nothing_wrong(report) and report.oom_kills == 0


def test_a_page_that_tmem_garbled_or_lost_is_reported() -> None:
    """I7 is looked at: content changed or taken away behind the guest's back shows in its report."""
    host = tmem_host()
    guest = swapper(host)
    host.run_until(150.0)
    pages = stored(host, guest.domid)
    for page in pages[:3]:
        page.content += 1
    host.set_target(guest.domid, 3000)
    host.run_until(160.0)
    assert (guest.report().stale_pages, guest.report().lost_pages) == (3, 0)

    other = swapper(host, workload=ConstantSpec(2500))
    host.run_until(170.0)
    assert other.report().frontswap_stores == 500

    async def destroy() -> None:
        await other.world.hypercall(TmemDestroyPool(0))

    task = other.world.spawn(destroy(), "fault")
    host.simulator.run(stop=task.done)
    host.set_target(other.domid, 2500)
    host.run_until(180.0)
    assert other.report().lost_pages == 500


@pytest.mark.rule("G3", "G15")
@pytest.mark.parametrize("kind", ["hvm", "pv"])
def test_all_of_it_at_once_keeps_every_page(kind: str) -> None:
    """Surges, files, truncations, self-ballooning: nothing stale, nothing lost, swap adds up."""
    host = tmem_host()
    guest = swapper(
        host,
        kind=kind,
        self_sizing=True,
        selfballoon=SelfBalloonSpec(min_usable=100),
        files=FileSpec(pages=3000, rate=100.0, truncate_every=7.0),
        cleancache=True,
        workload=SquareSpec(low=1000, high=3000, period=60.0),
    )
    host.run_until(100.0)
    report = guest.report()
    assert report.frontswap_loads > 0 and report.cleancache_hits > 0
    assert report.frontswap_stores + report.disk_swap_out == report.swapped_out
    assert nothing_wrong(report)
    persistent = host.simulator.machine.host.tmem
    assert persistent is not None
    assert guest.tot_pages() == report.current_pages + len(persistent.persistent_frames)


def test_the_page_cache_forgets_the_least_recently_used() -> None:
    """Touching saves a page from eviction; a truncation drops its file alone and changes its content."""
    cache = PageCache(100, 4, salt=3)
    pages = [cache.page(rank) for rank in range(8)]
    for page in pages:
        cache.insert(page)
    assert cache.touch(pages[0]) and not cache.touch(cache.page(50))
    assert list(cache.evict_to(6)) == pages[1:3]
    before = cache.content(pages[3])
    cache.truncate(pages[3].file)
    assert cache.content(pages[3]) != before
    assert len(cache) == 4
    assert cache.first_time(pages[0]) and not cache.first_time(pages[0])
    assert len({cache.content(cache.page(rank)) for rank in range(100)}) == 100
