"""How metadata and compressed pages share pages: Xen's xmem_pool, a two-level segregated fit allocator.

How many pages the metadata costs decides tot_pages, freeable and what a flush gives back (T19, T25, T34), so
the allocator's own rules are followed: 16 bytes before each block, sizes of whole 16 bytes, the first block
of the smallest size class that surely fits, the remainder split off, neighbours merged when freed.
"""

from typing import Final

from hypervisor.public.units import PAGE_SIZE, Mfn

_HEADER: Final = 16
_ALIGN: Final = 16
_SMALL: Final = 128
MAX_SUBPAGE: Final = PAGE_SIZE - 2 * _HEADER
"""xmem_pool_maxalloc: bytes that one page can hold; anything larger takes a page of its own."""


class Block:
    """A piece of one page, free or used; neighbours within the page are linked."""

    __slots__ = ("after", "before", "free", "mfn", "size")

    def __init__(self, mfn: Mfn, size: int, before: "Block | None", after: "Block | None") -> None:
        self.mfn = mfn
        self.size = size
        self.before = before
        self.after = after
        self.free = True


class SubpagePool:
    """Blocks of less than a page, cut from pages that the caller brings and takes back."""

    def __init__(self) -> None:
        self.pages = 0
        self._classes: dict[int, dict[Block, None]] = {}
        self._bitmap = 0

    def take(self, size: int) -> Block | None:
        """A block for `size` bytes; None: bring another page with `add` first (xmem_pool_alloc)."""
        size = max(_ALIGN, -(-size // _ALIGN) * _ALIGN)
        least = _class_to_search(size)
        found = self._bitmap >> least
        if not found:
            return None
        chosen = least + (found & -found).bit_length() - 1
        blocks = self._classes[chosen]
        block, _ = blocks.popitem()
        if not blocks:
            self._bitmap &= ~(1 << chosen)
        left = block.size - size
        if left >= 2 * _HEADER:
            rest = Block(block.mfn, left - _HEADER, block, block.after)
            if block.after is not None:
                block.after.before = rest
            block.after = rest
            block.size = size
            self._insert(rest)
        block.free = False
        return block

    def add(self, mfn: Mfn) -> None:
        """One more page to cut from."""
        self.pages += 1
        self._insert(Block(mfn, MAX_SUBPAGE, None, None))

    def give(self, block: Block) -> Mfn | None:
        """Free a block; the page it lay in when that is empty now, to be given back (xmem_pool_free)."""
        assert not block.free, "subpage freed twice"
        after, before = block.after, block.before
        if after is not None and after.free:
            self._remove(after)
            block.size += after.size + _HEADER
            block.after = after.after
            if block.after is not None:
                block.after.before = block
        if before is not None and before.free:
            self._remove(before)
            before.size += block.size + _HEADER
            before.after = block.after
            if before.after is not None:
                before.after.before = before
            block = before
        if block.before is None and block.after is None:
            self.pages -= 1
            return block.mfn
        self._insert(block)
        return None

    def _insert(self, block: Block) -> None:
        block.free = True
        number = _class_of(block.size)
        self._classes.setdefault(number, {})[block] = None
        self._bitmap |= 1 << number

    def _remove(self, block: Block) -> None:
        number = _class_of(block.size)
        blocks = self._classes[number]
        del blocks[block]
        if not blocks:
            self._bitmap &= ~(1 << number)


def _class_of(size: int) -> int:
    """The list a free block of this size is kept on: 32 steps to every power of two."""
    if size < _SMALL:
        return size // 4
    level = size.bit_length() - 1
    return (level - 6) * 32 + (size >> (level - 5)) - 32


def _class_to_search(size: int) -> int:
    """The first list whose blocks all hold this size."""
    if size < _SMALL:
        return size // 4
    return _class_of(size + (1 << (size.bit_length() - 6)) - 1)
