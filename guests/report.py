"""What a guest reports at its end: plain numbers, the same from a process and from virtual time."""

import msgspec
from msgspec import Struct

from hypervisor.public.units import DomId, Pages, Seconds

RUNNING = "running"
STOPPED = "stopped"
DOMAIN_GONE = "domain-gone"
CONNECTION_LOST = "connection-lost"


class PagingCounts(Struct, kw_only=True):
    """Where pages were swapped to and files read from: pages, and references to pages of files."""

    disk_swap_out: Pages = 0  # swapped pages written to disk: all of them without frontswap
    disk_swap_in: Pages = 0
    frontswap_stores: Pages = 0  # swapped pages stored in tmem
    frontswap_refused: Pages = 0  # stores that tmem refused: these went to disk
    frontswap_loads: Pages = 0
    file_references: int = 0  # to pages of files
    page_cache_hits: int = 0  # of these, found in the guest's own memory
    file_reads: Pages = 0  # of these, read from disk
    cleancache_puts: Pages = 0  # pages evicted from the page cache and offered to tmem
    cleancache_puts_refused: Pages = 0
    cleancache_hits: Pages = 0  # refaults that tmem met
    cleancache_misses: Pages = 0  # refaults that it did not; first references are neither


class Counters(PagingCounts, kw_only=True):
    """What a running guest counts, from its start: requests, pages and emulated seconds."""

    hypercalls: int = 0
    messages: int = 0  # calls sent, a multicall counted once
    store_requests: int = 0
    populate_calls: int = 0
    populate_calls_refused: int = 0  # of these, done in part or not at all
    decrease_calls: int = 0
    pages_asked: Pages = 0  # extents of all populate calls
    pages_refused: Pages = 0  # of these, not done: the refused allocations
    pages_returned: Pages = 0
    retries: int = 0  # times the driver backed off (EAGAIN)
    cancellations: int = 0  # times it gave up (ECANCELED, v5.3)
    longest_wait_s: Seconds = 0.0  # longest back-off
    swapped_out: Pages = 0
    swapped_unrefused: Pages = 0  # of swapped_out, before the first refused allocation
    swapped_in: Pages = 0
    highest_swapped: Pages = 0
    stalled_s: Seconds = 0.0  # time with pages in swap
    waited_s: Seconds = 0.0  # time demand waited for a populate under way, nothing in swap
    oom_kills: int = 0
    cleancache_flushes: int = 0  # files truncated
    shared_writes: int = 0  # first writes to shared pages that returned
    shared_copies: Pages = 0  # of these, broken by a copy: pages taken from the host
    shared_kept: Pages = 0  # of these, the last sharer's, who keeps the frame
    shared_refused: int = 0  # of these, to a page given back meanwhile
    shared_stalls: int = 0  # times the vcpu was paused for want of memory, and let go again
    shared_stalled_s: Seconds = 0.0  # time in writes that met want of memory
    shared_pending: int = 0  # 1: the last write has not returned: the domain crashed, waits, or ended
    stale_pages: Pages = 0  # gets that brought other than what was put last (I7: never)
    lost_pages: Pages = 0  # stored persistently, and not there any more (I7: never)


class SwapTime(Struct, frozen=True):
    """What was swapped in one interval of emulated time."""

    start_s: Seconds
    seconds: Seconds
    out: Pages
    back: Pages


class GuestReport(Counters, kw_only=True, forbid_unknown_fields=True):
    """One guest's figures from boot to `ended_s`, in pages, requests and emulated seconds."""

    domid: DomId
    incarnation: int
    kind: str
    behaviour: str
    ending: str
    """running (killed without a word), stopped, domain-gone, connection-lost, or the kernel BUG it met."""
    started_s: Seconds
    ended_s: Seconds
    initial_pages: Pages
    current_pages: Pages
    target_pages: Pages
    lowest_pages: Pages
    highest_pages: Pages
    demand_pages: Pages  # wanted at the end, after OOM kills
    resident_pages: Pages
    swapped_pages: Pages  # in swap at the end
    lag_p99_s: Seconds = 0.0  # real seconds that its process woke up later than asked
    lag_max_s: Seconds = 0.0
    swap_times: tuple[SwapTime, ...] = ()  # when swapped_out and swapped_in came about

    @property
    def crashed(self) -> bool:
        """True when the guest's kernel met a BUG."""
        return self.ending not in {RUNNING, STOPPED, DOMAIN_GONE, CONNECTION_LOST}


REPORT = msgspec.json.Decoder(GuestReport)
"""Reads one report's file."""
