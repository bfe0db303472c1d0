"""Taking ephemeral pages away: eviction and what the heap allocator asks of tmem (T26, T29-T31)."""

from typing import Final

from hypervisor.core.host import Host
from hypervisor.core.tmem.content import Client, Page
from hypervisor.core.tmem.release import delist, free_descriptor, free_object, tmem_of, unhang
from hypervisor.core.tmem.state import Tmem
from hypervisor.public.units import Mfn, Order

MAX_EVICTS: Final = 10


def evict(host: Host) -> bool:
    """tmem_evict: the oldest evictable page goes to the tmem list; False when there is none (T29).

    A client over its quota loses a page of its own, and nobody else does in its stead.
    """
    tmem = tmem_of(host)
    tmem.statistics.evict_attempts += 1
    page, client = _victim(tmem, host.current, host.release.tmem_quota_as_written)
    if page is None or client is None:
        return False
    obj = page.obj
    delist(host, page)
    found = unhang(host, obj, page.index)
    assert found is page
    free_descriptor(host, page)
    if not obj.pages:
        free_object(host, obj)
    tmem.statistics.evicted += 1
    return True


def relinquish_page(host: Host, order: Order) -> Mfn | None:
    """tmem_relinquish_pages: one page for the heap allocator, past the free lists (T26).

    None for any order above 0, and when an eviction fails before the list has a page.
    """
    tmem = tmem_of(host)
    tmem.statistics.relinq_attempts += 1
    if order > 0:
        return None
    evicts = 0
    while not tmem.page_list:
        if evicts >= MAX_EVICTS or not evict(host):
            break
        evicts += 1
    most = tmem.statistics.max_evicts_per_relinq
    tmem.statistics.max_evicts_per_relinq = max(most, evicts)
    if not tmem.page_list:
        return None
    tmem.statistics.relinq += 1
    return tmem.page_list.pop()


def _victim(tmem: Tmem, current: int, as_written: bool) -> tuple[Page | None, Client | None]:
    client = tmem.clients.get(current)
    if client is not None and _over_quota(tmem, client, as_written) and client.ephemeral:
        return next((page for page in client.ephemeral if _evictable(tmem, page)), None), client
    page = next((page for page in tmem.ephemeral if _evictable(tmem, page)), None)
    return page, None if page is None else page.obj.pool.client


def _over_quota(tmem: Tmem, client: Client, as_written: bool) -> bool:
    """As coded in Xen: true when the share of pages is BELOW the share of weight (T30)."""
    if not tmem.weight_total or not client.weight or not client.eph_count:
        return False
    pages, weights = 100 * tmem.eph_count // client.eph_count, 100 * tmem.weight_total // client.weight
    return pages > weights if as_written else pages < weights


def _evictable(tmem: Tmem, page: Page) -> bool:
    return not page.obj.pool.is_dying and page.obj is not tmem.busy
