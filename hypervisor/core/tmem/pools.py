"""Clients and pools: made on first use, destroyed on request or with their domain (T2, T9, T28)."""

from hypervisor.core.allocation import free_xen_page, give_back, keep_for_xen, take_extent
from hypervisor.core.host import Host
from hypervisor.core.refusals import note_no_extent
from hypervisor.core.sources import Source
from hypervisor.core.steps import Part
from hypervisor.core.tmem.content import Client, Pool
from hypervisor.core.tmem.memory import take_block
from hypervisor.core.tmem.release import free_block, free_object, tmem_of
from hypervisor.public.errors import Errno
from hypervisor.public.tmem import (
    TMEM_POOL_PAGESIZE_MASK,
    TMEM_POOL_PAGESIZE_SHIFT,
    TMEM_POOL_PERSIST,
    TMEM_POOL_PRECOMPRESSED,
    TMEM_POOL_RESERVED_BITS,
    TMEM_POOL_SHARED,
    TMEM_POOL_VERSION_SHIFT,
    TMEM_SPEC_VERSION,
    Uuid,
)
from hypervisor.public.units import DomId, Mfn

_SHARE_LIST = 24
"""Bytes of struct share_list."""
_NO_UUID: Uuid = (2**64 - 1, 2**64 - 1)


def create_client(host: Host, domid: DomId) -> Client | None:
    """client_create; None: no such domain, or Xen has no memory for it."""
    tmem = tmem_of(host)
    domain = host.find(domid)
    if domain is None or domain.is_dying:
        return None
    frames = _xen_pages(host, domid, (1, *[0] * tmem.client_extra_pages))
    if frames is None:
        return None
    client = Client(domid, tmem.compress, xen_frames=frames)
    tmem.clients[domid] = client
    return client


def new_pool(host: Host, client: Client, flags: int, uuid: Uuid) -> Part[int]:
    """do_tmem_new_pool: the lowest free id, -EPERM or -ENOMEM (T9)."""
    tmem = tmem_of(host)
    shared, persistent = bool(flags & TMEM_POOL_SHARED), bool(flags & TMEM_POOL_PERSIST)
    if not _flags_fit(flags) or (shared and persistent) or None not in client.pools:
        return -Errno.EPERM
    frames = _xen_pages(host, client.domid, (0,) * tmem.pool_pages)
    if frames is None:
        return -Errno.ENOMEM
    pool_id = client.pools.index(None)
    shared = shared and uuid != _NO_UUID and (not _needs_auth(host) or uuid in client.authorised)
    pool = Pool(client, pool_id, persistent, shared, uuid, frames)
    if shared:
        joined = yield from _share(host, client, pool)
        if joined is not pool:
            _free_xen_pages(host, frames)
        if joined is None:
            return -Errno.EPERM  # no slot, or no memory for the list of sharers
        pool = joined
    client.pools[pool_id] = pool
    client.nr_pools += 1
    return pool_id


def destroy_pool(host: Host, client: Client, pool_id: int) -> int:
    """do_tmem_destroy_pool: 1, or 0 when there is no such pool."""
    pool = client.pools[pool_id] if 0 <= pool_id < len(client.pools) else None
    if pool is None:
        return 0
    client.pools[pool_id] = None
    _flush_pool(host, pool, client)
    client.nr_pools -= 1
    return 1


def destroy_client(host: Host, domid: DomId) -> None:
    """tmem_destroy: when its domain is killed, before the claim goes (T28). Its weight stays in the sum."""
    client = tmem_of(host).clients.get(domid)
    if client is None:
        return
    end_migration(host, client)
    for pool_id, pool in enumerate(client.pools):
        if pool is not None:
            client.pools[pool_id] = None
            _flush_pool(host, pool, client)
    del tmem_of(host).clients[domid]
    _free_xen_pages(host, client.xen_frames)


def end_migration(host: Host, client: Client) -> None:
    """SAVE_END: descriptors of pages that went meanwhile are freed."""
    client.migrating = False
    for pool, block in client.invalidated:
        free_block(host, pool, block)
    client.invalidated.clear()


def _flags_fit(flags: int) -> bool:
    return (
        flags >> TMEM_POOL_VERSION_SHIFT == TMEM_SPEC_VERSION
        and not (flags >> TMEM_POOL_PAGESIZE_SHIFT) & TMEM_POOL_PAGESIZE_MASK
        and not flags & (TMEM_POOL_PRECOMPRESSED | TMEM_POOL_RESERVED_BITS)
    )


def _needs_auth(host: Host) -> bool:
    return host.release.tmem_shared_auth_required and not tmem_of(host).shared_auth


def _share(host: Host, client: Client, pool: Pool) -> Part[Pool | None]:
    """The pool of that uuid, or `pool` under a slot of its own; None: no slot is left."""
    tmem = tmem_of(host)
    existing = next((one for one in tmem.shared_pools if one and one.uuid == pool.uuid), None)
    if existing is None and None not in tmem.shared_pools:
        return None
    block = yield from take_block(host, pool, _SHARE_LIST)
    if block is None:
        return None
    if existing is None:
        tmem.shared_pools[tmem.shared_pools.index(None)] = pool
    joined = existing or pool
    joined.sharers.append((client, block))
    return joined


def _flush_pool(host: Host, pool: Pool, client: Client) -> None:
    if pool.shared and _quit(host, pool, client):
        return
    # Xen refuses while live-migrating, and leaks the pool; here its pages go (T10)
    pool.is_dying = True
    for obj in pool.in_destruction_order():
        free_object(host, obj)
    _free_xen_pages(host, pool.xen_frames)


def _quit(host: Host, pool: Pool, client: Client) -> int:
    """shared_pool_quit: how many still share it. What the client was the last to get goes (recording t14).

    The pool counts as dying from now on, so its pages can never be evicted, though it is used on (t21).
    """
    pool.is_dying = True
    for obj in pool.in_destruction_order():
        if obj.last_client == client.domid:
            free_object(host, obj)
    place = next(number for number, (one, _) in enumerate(pool.sharers) if one is client)
    free_block(host, pool, pool.sharers.pop(place)[1])
    if pool.client is client and pool.sharers:
        _reassign(pool, client, pool.sharers[0][0])
    if not pool.sharers:
        slots = tmem_of(host).shared_pools
        slots[slots.index(pool)] = None
    return len(pool.sharers)


def _reassign(pool: Pool, old: Client, new: Client) -> None:
    """shared_pool_reassign: the pool has a new owner, and the old one's whole list of pages goes along."""
    if old.pools[pool.pool_id] is pool and old is not new:
        old.pools[pool.pool_id] = None
    pool.client = new
    pool.pool_id = next(number for number, one in enumerate(new.pools) if one is pool)
    new.eph_count += pool.pages
    old.eph_count -= pool.pages
    if old is not new:
        new.ephemeral = old.ephemeral | new.ephemeral
        old.ephemeral = {}


def _xen_pages(host: Host, domid: DomId, orders: tuple[int, ...]) -> list[Mfn] | None:
    """Pages for Xen itself, from unclaimed memory; None, with nothing taken, when there is too little."""
    extents: list[tuple[Mfn, int]] = []
    for order in orders:
        mfn = take_extent(host, None, order)
        if mfn is None:
            note_no_extent(host, domid, Source.STRUCTURES, order=order)
            for taken, size in extents:
                give_back(host, taken, size)
            return None
        extents.append((mfn, order))
    frames = [mfn + index for mfn, order in extents for index in range(1 << order)]
    for mfn in frames:
        keep_for_xen(host, mfn)
    return frames


def _free_xen_pages(host: Host, frames: list[Mfn]) -> None:
    for mfn in frames:
        free_xen_page(host, mfn)
    frames.clear()
