"""What tmem keeps: pages in objects in pools of clients, with the trees that hold them (T2, T3)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hypervisor.core.tmem.subpages import Block, SubpagePool
from hypervisor.public.tmem import MAX_POOLS_PER_DOMAIN, Oid, Uuid
from hypervisor.public.units import DomId, Mfn, Pages

_BITS: Final = 6
_SLOTS: Final = 1 << _BITS


class Page:
    """One page put: tmem_page_descriptor."""

    __slots__ = ("block", "content", "data", "index", "mfn", "obj")

    def __init__(self, obj: "Object", block: Block) -> None:
        self.obj = obj
        self.block = block
        """The descriptor's own place."""
        self.index = -1
        self.content = 0
        self.mfn: Mfn | None = None
        """Where the data lies when it has a page of its own."""
        self.data: Block | None = None
        """Where it lies compressed."""

    @property
    def compressed(self) -> bool:
        """True when the data has no page of its own."""
        return self.data is not None


class Node:
    """A node of an object's radix tree, 64 slots."""

    __slots__ = ("block", "height", "slots")

    def __init__(self, block: Block, height: int) -> None:
        self.block = block
        self.height = height
        self.slots: dict[int, Slot] = {}


Slot = Node | Page


class Object:
    """tmem_object_root: the pages of one oid, by index."""

    __slots__ = ("block", "height", "last_client", "oid", "pages", "pool", "root")

    def __init__(self, pool: "Pool", oid: Oid, block: Block) -> None:
        self.pool = pool
        self.oid = oid
        self.block = block
        self.last_client: DomId | None = None
        self.pages: dict[int, Page] = {}
        self.root: Slot | None = None
        self.height = 0

    def grow_by(self, index: int) -> int:
        """Levels that the tree lacks for this index (radix_tree_extend)."""
        height = self.height
        while index >> (height * _BITS):
            height += 1
        return height - self.height

    def raise_root(self, block: Block) -> None:
        """One more level above a tree that is not empty."""
        node = Node(block, self.height + 1)
        assert self.root is not None
        node.slots[0] = self.root
        self.root = node
        self.height += 1

    def missing_node(self, index: int) -> "tuple[Node | None, int, int] | None":
        """(parent, slot, height) of the first node lacking on the way to an index, None if none is."""
        parent: Node | None = None
        offset = 0
        here = self.root
        for height in range(self.height, 0, -1):
            if here is None:
                return parent, offset, height
            assert isinstance(here, Node)
            offset = (index >> ((height - 1) * _BITS)) & (_SLOTS - 1)
            parent, here = here, here.slots.get(offset)
        return None

    def hang(self, place: "tuple[Node | None, int, int]", block: Block) -> None:
        """Put a new node where `missing_node` says."""
        parent, offset, height = place
        node = Node(block, height)
        if parent is None:
            self.root = node
        else:
            parent.slots[offset] = node

    def insert(self, page: Page, index: int) -> None:
        """Put a page at its index; every node on the way exists."""
        page.index = index
        self.pages[index] = page
        if self.height == 0:
            self.root = page
            return
        leaf = self._path(index)[-1]
        leaf.slots[index & (_SLOTS - 1)] = page

    def remove(self, index: int) -> tuple[Page | None, list[Block]]:
        """Take the page at an index out; the nodes no longer needed, in the order they are freed."""
        page = self.pages.pop(index, None)
        if page is None:
            return None, []
        if self.height == 0:
            self.root = None
            return page, []
        freed: list[Block] = []
        path = self._path(index)
        for node in reversed(path):
            del node.slots[(index >> ((node.height - 1) * _BITS)) & (_SLOTS - 1)]
            if node.slots:
                if node is self.root:
                    freed += self._shrink()
                return page, freed
            freed.append(node.block)
        self.root, self.height = None, 0
        return page, freed

    def tear_down(self) -> Iterator[Page | Block]:
        """Pages and nodes in the order radix_tree_destroy frees them; the tree is empty afterwards."""
        root, self.root, self.height = self.root, None, 0
        self.pages = {}
        if root is not None:
            yield from _tear_down(root)

    def _path(self, index: int) -> list[Node]:
        path: list[Node] = []
        here = self.root
        for height in range(self.height, 0, -1):
            assert isinstance(here, Node)
            path.append(here)
            here = here.slots.get((index >> ((height - 1) * _BITS)) & (_SLOTS - 1))
        return path

    def _shrink(self) -> list[Block]:
        freed: list[Block] = []
        while self.height > 0:
            root = self.root
            assert isinstance(root, Node)
            if len(root.slots) != 1 or 0 not in root.slots:
                break
            self.root = root.slots[0]
            self.height -= 1
            freed.append(root.block)
        return freed


def _tear_down(slot: Slot) -> Iterator[Page | Block]:
    if isinstance(slot, Page):
        yield slot
        return
    for offset in sorted(slot.slots):
        yield from _tear_down(slot.slots[offset])
    yield slot.block


@dataclass(slots=True, eq=False)
class Pool:
    """tmem_pool. Counts are those of LIST (T17)."""

    client: "Client"
    pool_id: int
    persistent: bool
    shared: bool
    uuid: Uuid
    xen_frames: list[Mfn] = field(default_factory=list[Mfn])
    """Xen's own pages for the pool (xmalloc)."""
    is_dying: bool = False
    sharers: "list[tuple[Client, Block]]" = field(default_factory=list["tuple[Client, Block]"])
    objects: dict[Oid, Object] = field(default_factory=dict[Oid, Object])
    pages: Pages = 0
    pages_max: Pages = 0
    objects_max: int = 0
    nodes: int = 0
    nodes_max: int = 0
    puts: int = 0
    good_puts: int = 0
    no_mem_puts: int = 0
    dup_puts_flushed: int = 0
    dup_puts_replaced: int = 0
    gets: int = 0
    found_gets: int = 0
    flushs: int = 0
    flushs_found: int = 0
    flush_objs: int = 0
    flush_objs_found: int = 0

    def in_destruction_order(self) -> list[Object]:
        """Objects as pool_destroy_objs meets them: by hash bucket, in each from the largest oid down."""
        return sorted(
            self.objects.values(), key=lambda obj: (_bucket(obj.oid), tuple(-part for part in obj.oid[::-1]))
        )


def _bucket(oid: Oid) -> int:
    # hash_long multiplies by a number that ends in 0x0001, and 256 buckets look at the last byte only.
    return (oid[0] ^ oid[1] ^ oid[2]) & 0xFF


@dataclass(slots=True, eq=False)
class Client:
    """struct client: a domain that has used tmem."""

    domid: DomId
    compress: bool
    pools: list[Pool | None] = field(default_factory=lambda: [None] * MAX_POOLS_PER_DOMAIN)
    subpages: SubpagePool = field(default_factory=SubpagePool)
    """Metadata and compressed data of its persistent pools; the pages stand in its tot_pages (T25)."""
    xen_frames: list[Mfn] = field(default_factory=list[Mfn])
    """Xen's own pages for the client (xmalloc)."""
    ephemeral: dict[Page, None] = field(default_factory=dict[Page, None])
    """Its ephemeral pages, oldest first (T31)."""
    eph_count: int = 0
    """Kept apart from the list: a shared pool that changes hands makes the two disagree, as in Xen."""
    eph_count_max: int = 0
    nr_pools: int = 0
    frozen: bool = False
    was_frozen: bool = False
    migrating: bool = False
    invalidated: list[tuple[Pool, Block]] = field(default_factory=list[tuple[Pool, Block]])
    """Descriptors of persistent pages flushed while migrating; freed by SAVE_END."""
    weight: int = 0
    authorised: list[Uuid | None] = field(default_factory=lambda: [None] * 16)
    compressed_pages: int = 0
    compressed_sum_size: int = 0
    compress_poor: int = 0
    compress_nomem: int = 0
    succ_eph_gets: int = 0
    succ_pers_puts: int = 0
    succ_pers_gets: int = 0
