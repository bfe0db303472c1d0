"""The state of transcendent memory on one host (T18, T19)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hypervisor.core.tmem.content import Client, Object, Page, Pool
from hypervisor.core.tmem.subpages import SubpagePool
from hypervisor.public.tmem import MAX_GLOBAL_SHARED_POOLS
from hypervisor.public.units import DomId, Mfn, Pages

TMEM_OWNER: Final[DomId] = 0x7FFE
"""Owner of frames on the tmem list and in ephemeral pools, which in Xen have none (T18)."""
MIDSIZE_ALLOC_FRAC: Final = 128
"""A 128th of memory is kept for extents of orders 1 to 8 (A25)."""


@dataclass(slots=True)
class Statistics:
    """Counters since boot that LIST prints (T17)."""

    total_ops: int = 0
    errored_ops: int = 0
    failed_copies: int = 0
    alloc_failed: int = 0
    page_failed: int = 0
    evicted: int = 0
    evict_attempts: int = 0
    relinq: int = 0
    relinq_attempts: int = 0
    max_evicts_per_relinq: int = 0
    good_eph_puts: int = 0
    eph_max: int = 0
    objects_max: int = 0
    nodes_max: int = 0
    pages_max: int = 0
    data_pages_max: int = 0


@dataclass(slots=True)
class Tmem:
    """Everything tmem holds. `enabled` False is a hypervisor built with tmem but booted without it (T1)."""

    enabled: bool = True
    compress: bool = False
    """Boot option tmem_compress: what a new client begins with (T33)."""
    midsize: Pages = 0
    """midsize_alloc_zone_pages (A25)."""
    page_list: list[Mfn] = field(default_factory=list[Mfn])
    """Pages tmem has and does not use, the last returned first (T18)."""
    in_use: Pages = 0
    """freeable_page_count: ephemeral data and the metadata of ephemeral pools (T19)."""
    subpages: SubpagePool = field(default_factory=SubpagePool)
    """Metadata and compressed data of all ephemeral pools."""
    clients: dict[DomId, Client] = field(default_factory=dict[DomId, Client])
    shared_pools: list[Pool | None] = field(default_factory=lambda: [None] * MAX_GLOBAL_SHARED_POOLS)
    shared_auth: bool = False
    """4.3: sharing without authorisation is allowed to all (T13)."""
    weight_total: int = 0
    """Sum of weights; not lowered when a client dies (recording t90)."""
    ephemeral: dict[Page, None] = field(default_factory=dict[Page, None])
    """All ephemeral pages, oldest put first (T31)."""
    eph_count: int = 0
    busy: Object | None = None
    """The object a command under way has locked: its pages cannot be evicted meanwhile (T29)."""
    persistent_frames: set[Mfn] = field(default_factory=set[Mfn])
    """Pages of domains that hold persistent data or its metadata: no guest can name them."""
    objects: int = 0
    nodes: int = 0
    pages: Pages = 0
    data_pages: Pages = 0
    client_extra_pages: Pages = 0
    """What a new client costs Xen beyond two pages: 0 or 1 (recordings)."""
    pool_pages: Pages = 1
    """What a new pool costs Xen."""
    statistics: Statistics = field(default_factory=Statistics)

    @property
    def freeable(self) -> Pages:
        """tmem_freeable_pages: what eviction could give, overstated by metadata and dying pools (T19)."""
        return len(self.page_list) + self.in_use

    def sample_midsize(self, total_avail: Pages) -> None:
        """At each free to the heap: the most that a 128th of free memory ever was (A25)."""
        if self.enabled:
            self.midsize = max(self.midsize, total_avail // MIDSIZE_ALLOC_FRAC)

    def pools(self) -> Iterator[Pool]:
        """Every pool once, by client and id."""
        for client in self.clients.values():
            for pool in client.pools:
                if pool is not None and pool.client is client:
                    yield pool

    def digest_parts(self) -> Iterator[bytes]:
        """Canonical content: pages with what they hold, lists in order."""
        yield msgspec.msgpack.encode((self.enabled, self.midsize, self.page_list, self.in_use))
        for client in self.clients.values():
            yield msgspec.msgpack.encode(
                (client.domid, client.frozen, client.migrating, client.weight, client.compress)
            )
            for pool in client.pools:
                if pool is None:
                    continue
                head = (pool.client.domid, pool.pool_id, pool.persistent, pool.shared, pool.uuid)
                yield msgspec.msgpack.encode((head, pool.is_dying))
                for oid in sorted(pool.objects):
                    pages = pool.objects[oid].pages
                    held = [(index, pages[index].content, pages[index].mfn) for index in sorted(pages)]
                    yield msgspec.msgpack.encode((oid, held))
        yield msgspec.msgpack.encode([(page.obj.oid, page.index) for page in self.ephemeral])
