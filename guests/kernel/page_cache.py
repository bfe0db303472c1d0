"""The page cache: which pages of files are in memory, least recently used first, and what stands in them."""

from collections.abc import Iterator
from typing import NamedTuple

from hypervisor.public.units import Pages


class FilePage(NamedTuple):
    """A page of a file."""

    file: int
    number: int
    """Of the page within its file."""


class PageCache:
    """Pages of `files` files of `pages` pages in all, dealt out so that each has popular and unpopular ones.

    A file's content is a number that follows from its version: an old copy can be told from a new one.
    """

    def __init__(self, pages: Pages, files: int, salt: int) -> None:
        """`salt`, of up to 16 bits, sets the contents of two guests apart."""
        self.pages = pages
        self.files = min(files, pages)
        self._salt = salt & 0xFFFF
        self._versions = [1] * self.files
        self._cached: dict[FilePage, None] = {}  # least recently used first
        self._seen: set[FilePage] = set()

    def __len__(self) -> int:
        return len(self._cached)

    def page(self, rank: int) -> FilePage:
        """The page of that popularity."""
        return FilePage(rank % self.files, rank // self.files)

    def content(self, page: FilePage) -> int:
        """What stands in the file now; never 0, which is the page of zeros."""
        place = page.number * self.files + page.file
        return (self._salt << 48) | ((self._versions[page.file] & 0xFFFF) << 32) | (place + 1)

    def touch(self, page: FilePage) -> bool:
        """True when it is cached: it is the most recently used now."""
        if page not in self._cached:
            return False
        del self._cached[page]
        self._cached[page] = None
        return True

    def first_time(self, page: FilePage) -> bool:
        """True once for each page: a reference that nothing could have cached."""
        if page in self._seen:
            return False
        self._seen.add(page)
        return True

    def insert(self, page: FilePage) -> None:
        """It has been read."""
        self._cached[page] = None

    def evict_to(self, most: Pages) -> Iterator[FilePage]:
        """Take out the least recently used until at most `most` are left."""
        while len(self._cached) > max(most, 0):
            page = next(iter(self._cached))
            del self._cached[page]
            yield page

    def truncate(self, file: int) -> None:
        """The file is cut to nothing and written anew: all that was cached of it is gone."""
        self._versions[file] += 1
        for page in [page for page in self._cached if page.file == file]:
            del self._cached[page]
