"""TMEM_PUT_PAGE (T10, T20-T23; recordings 4.12 rules 6 to 9 and 11)."""

from typing import Final

from hypervisor.core.decrease import lookup_page
from hypervisor.core.host import Host
from hypervisor.core.refusals import note_refusal
from hypervisor.core.sources import Reason, Source
from hypervisor.core.steps import Caller, Part
from hypervisor.core.tmem.content import Object, Page, Pool
from hypervisor.core.tmem.eviction import evict
from hypervisor.core.tmem.memory import subpages_of, take_block, take_page, tmem_step
from hypervisor.core.tmem.release import (
    COMPRESSED_ZEROS,
    delete_page,
    free_data,
    free_descriptor,
    free_object,
    tmem_of,
    unhang,
)
from hypervisor.core.tmem.state import Tmem
from hypervisor.core.tmem.subpages import Block
from hypervisor.public.errors import Errno
from hypervisor.public.tmem import TmemPutPage
from hypervisor.public.units import PAGES_PER_MIB, ULONG_MASK

_OBJECT: Final = 128
"""Bytes of struct tmem_object_root."""
_NODE: Final = 528
"""Bytes of struct tmem_object_node."""


def put_page(host: Host, caller: Caller, pool: Pool, request: TmemPutPage) -> Part[int]:
    """1, or a negative errno. A duplicate that fails has lost the old page too (T10)."""
    tmem = tmem_of(host)
    if not _is_roomy(host, tmem) and not (yield from _make_room(host, tmem)):
        note_refusal(host, caller.domid, 1, _source(pool), Reason.EMPTY)
        return -Errno.ENOMEM
    pool.puts += 1
    obj = pool.objects.get(request.oid)
    page = None if obj is None else obj.pages.get(request.index)
    try:
        if obj is not None and page is not None:
            tmem.busy = obj
            return (yield from _duplicate(host, caller, page, request))
        return (yield from _new(host, caller, pool, obj, request))
    finally:
        tmem.busy = None


def _is_roomy(host: Host, tmem: Tmem) -> bool:
    """A MiB above midsize is there (T21). The difference is an unsigned long: below midsize it wraps."""
    spare = (len(tmem.page_list) + host.heap.total_avail - tmem.midsize) & ULONG_MASK
    return spare >= PAGES_PER_MIB


def _make_room(host: Host, tmem: Tmem) -> Part[bool]:
    """tmem_ensure_avail_pages: evict until there is room, ten failures at most; may the put go on? (T21)"""
    failures = 10 if host.release.tmem_put_needs_room else 11
    while True:
        if not evict(host):
            failures -= 1
        if not failures:
            return not host.release.tmem_put_needs_room
        yield tmem_step("evict")
        if _is_roomy(host, tmem):
            return True


def _new(host: Host, caller: Caller, pool: Pool, obj: Object | None, request: TmemPutPage) -> Part[int]:
    if pool.client.frozen:
        pool.no_mem_puts += obj is not None
        note_refusal(host, caller.domid, 1, _source(pool), Reason.FROZEN)
        return -Errno.EFROZEN
    fresh = obj is None
    if obj is None:
        block = subpages_of(host, pool).take(_OBJECT) or (yield from take_block(host, pool, _OBJECT))
        if block is None:
            return -Errno.ENOMEM
        obj = _add_object(host, pool, request, block)
    tmem_of(host).busy = obj
    ret = yield from _store_new(host, caller, obj, request)
    if ret != 1:
        if fresh:
            free_object(host, obj)
        pool.no_mem_puts += 1
    return ret


def _add_object(host: Host, pool: Pool, request: TmemPutPage, block: Block) -> Object:
    tmem = tmem_of(host)
    obj = pool.objects[request.oid] = Object(pool, request.oid, block)
    pool.objects_max = max(pool.objects_max, len(pool.objects))
    tmem.objects += 1
    tmem.statistics.objects_max = max(tmem.statistics.objects_max, tmem.objects)
    return obj


def _store_new(host: Host, caller: Caller, obj: Object, request: TmemPutPage) -> Part[int]:
    """Descriptor, place in the tree, data, in Xen's order; what was taken goes back on failure."""
    page = yield from _new_page(host, obj)
    if page is None:
        return -Errno.ENOMEM
    placed = yield from _make_way(host, obj, request.index)
    if not placed:
        free_descriptor(host, page)
        return -Errno.ENOMEM
    obj.insert(page, request.index)
    ret = 0
    if obj.pool.client.compress:
        ret = yield from _compress(host, caller, page, request)
        obj.pool.client.compress_nomem += ret == -Errno.ENOMEM
        obj.pool.client.compress_poor += ret == 0
    if ret == 0:
        ret = yield from _copy_whole(host, page)
    if ret == 1 and not _readable(host, caller, request.cmfn):
        tmem_of(host).statistics.failed_copies += 1
        ret = -Errno.EFAULT
    if ret != 1:
        unhang(host, obj, request.index)
        free_descriptor(host, page)
        return ret
    page.content = _content(host, caller, request)
    _insert(host, page)
    return 1


def _new_page(host: Host, obj: Object) -> Part[Page | None]:
    tmem, pool = tmem_of(host), obj.pool
    size = host.release.tmem_page_descriptor_bytes
    block = subpages_of(host, pool).take(size) or (yield from take_block(host, pool, size))
    if block is None:
        return None
    pool.pages += 1
    pool.pages_max = max(pool.pages_max, pool.pages)
    tmem.pages += 1
    tmem.statistics.pages_max = max(tmem.statistics.pages_max, tmem.pages)
    return Page(obj, block)


def _make_way(host: Host, obj: Object, index: int) -> Part[bool]:
    """Nodes for an index; False: no memory, and those made stay in the tree (a "stump")."""
    for _ in range(obj.grow_by(index)):
        if obj.root is None:
            obj.height += 1
            continue
        block = yield from _take_node(host, obj)
        if block is None:
            return False
        obj.raise_root(block)
    while (place := obj.missing_node(index)) is not None:
        block = yield from _take_node(host, obj)
        if block is None:
            return False
        obj.hang(place, block)
    return True


def _take_node(host: Host, obj: Object) -> Part[Block | None]:
    tmem, pool = tmem_of(host), obj.pool
    block = yield from take_block(host, pool, _NODE)
    if block is not None:
        pool.nodes += 1
        pool.nodes_max = max(pool.nodes_max, pool.nodes)
        tmem.nodes += 1
        tmem.statistics.nodes_max = max(tmem.statistics.nodes_max, tmem.nodes)
    return block


def _compress(host: Host, caller: Caller, page: Page, request: TmemPutPage) -> Part[int]:
    """do_tmem_put_compress: 1 stored in a subpage, 0 not worth it, or -ENOMEM (T33).

    Zeros compress to 44 bytes; any other content stands for noise, which does not compress.
    """
    free_data(host, page)
    if _content(host, caller, request):
        return 0
    page.data = yield from take_block(host, page.obj.pool, COMPRESSED_ZEROS)
    if page.data is None:
        return -Errno.ENOMEM
    page.obj.pool.client.compressed_pages += 1
    page.obj.pool.client.compressed_sum_size += COMPRESSED_ZEROS
    return 1


def _copy_whole(host: Host, page: Page) -> Part[int]:
    """A page of its own for the data: 1 or -ENOMEM."""
    tmem = tmem_of(host)
    free_data(host, page)
    page.mfn = yield from take_page(host, page.obj.pool)
    if page.mfn is None:
        tmem.statistics.page_failed += 1
        return -Errno.ENOMEM
    tmem.data_pages += 1
    tmem.statistics.data_pages_max = max(tmem.statistics.data_pages_max, tmem.data_pages)
    return 1


def _duplicate(host: Host, caller: Caller, page: Page, request: TmemPutPage) -> Part[int]:
    """do_tmem_dup_put: the old data is freed before the new is stored (rule 9 of the recordings)."""
    obj, pool = page.obj, page.obj.pool
    ret = -Errno.ENOSPC if pool.client.migrating else 0
    if not ret and pool.client.compress and page.compressed:
        ret = yield from _compress(host, caller, page, request)
    if ret == 0:
        ret = yield from _copy_whole(host, page)
    if ret == 1 and not _readable(host, caller, request.cmfn):
        tmem_of(host).statistics.failed_copies += 1
        ret = -Errno.EFAULT
    if ret != 1:
        delete_page(host, obj, request.index)
        pool.dup_puts_flushed += 1
        return -Errno.ENOSPC if ret == -Errno.ENOMEM else ret
    page.content = _content(host, caller, request)
    if pool.shared:
        obj.last_client = pool.client.domid
    pool.dup_puts_replaced += 1
    _count_good_put(pool)
    return 1


def _content(host: Host, caller: Caller, request: TmemPutPage) -> int:
    """What the put copies: what it says stands in the frame, or what does."""
    if request.content is not None:
        return request.content
    domain = host.find(caller.domid)
    mfn = None if domain is None else lookup_page(host, domain, request.cmfn)
    return 0 if mfn is None else host.contents.get(mfn)


def _insert(host: Host, page: Page) -> None:
    """insert_page: an ephemeral page is the youngest of its client and of all (T31)."""
    tmem, pool = tmem_of(host), page.obj.pool
    if not pool.persistent:
        client, statistics = pool.client, tmem.statistics
        tmem.ephemeral[page] = client.ephemeral[page] = None
        tmem.eph_count += 1
        client.eph_count += 1
        client.eph_count_max = max(client.eph_count_max, client.eph_count)
        statistics.eph_max = max(statistics.eph_max, tmem.eph_count)
        statistics.good_eph_puts += 1
    if pool.shared:
        page.obj.last_client = pool.client.domid
    _count_good_put(pool)


def _count_good_put(pool: Pool) -> None:
    pool.good_puts += 1
    pool.client.succ_pers_puts += pool.persistent


def _source(pool: Pool) -> Source:
    return Source.TMEM_PERSISTENT if pool.persistent else Source.TMEM_EPHEMERAL


def _readable(host: Host, caller: Caller, cmfn: int) -> bool:
    domain = host.find(caller.domid)
    return domain is not None and lookup_page(host, domain, cmfn) is not None
