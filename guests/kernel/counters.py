"""What a running guest counts; `guests.report` turns it into the report."""

from dataclasses import dataclass

from hypervisor.public.units import Pages, Seconds


@dataclass(slots=True)
class Counters:
    """Totals since the guest started, in requests, pages and emulated seconds."""

    hypercalls: int = 0
    messages: int = 0
    store_requests: int = 0
    populate_calls: int = 0
    populate_calls_refused: int = 0
    decrease_calls: int = 0
    pages_asked: Pages = 0
    pages_refused: Pages = 0
    pages_returned: Pages = 0
    retries: int = 0
    cancellations: int = 0
    longest_wait_s: Seconds = 0.0
    swapped_out: Pages = 0
    swapped_in: Pages = 0
    highest_swapped: Pages = 0
    stalled_s: Seconds = 0.0
    waited_s: Seconds = 0.0
    oom_kills: int = 0
    disk_swap_out: Pages = 0
    disk_swap_in: Pages = 0
    frontswap_stores: Pages = 0
    frontswap_refused: Pages = 0
    frontswap_loads: Pages = 0
    file_references: int = 0
    page_cache_hits: int = 0
    file_reads: Pages = 0
    cleancache_puts: Pages = 0
    cleancache_puts_refused: Pages = 0
    cleancache_hits: Pages = 0
    cleancache_misses: Pages = 0
    cleancache_flushes: int = 0
    shared_writes: int = 0
    shared_copies: Pages = 0
    shared_kept: Pages = 0
    shared_refused: int = 0
    shared_stalls: int = 0
    shared_stalled_s: Seconds = 0.0
    shared_pending: int = 0
    stale_pages: Pages = 0
    lost_pages: Pages = 0
    swapped_unrefused: Pages = 0
