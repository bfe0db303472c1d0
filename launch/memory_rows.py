"""Rows of the summary about memory: growth by source, refusals by source and reason, the guests' paging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from guests.report import PagingCounts
from hypervisor.core.sources import Reason, Source
from launch.memory_figures import MemoryFigures, Refused

NO_TOT_PAGES: Final = (Source.TMEM_EPHEMERAL,)
"""Sources whose pages are in nobody's tot_pages (T20)."""

_PAGING: Final = (
    ("pages swapped to disk", "disk_swap_out", None),
    ("frontswap: stores (refused)", "frontswap_stores", "frontswap_refused"),
    ("frontswap: loads", "frontswap_loads", None),
    ("references to pages of files", "file_references", None),
    ("page cache: hits", "page_cache_hits", None),
    ("cleancache: puts (refused)", "cleancache_puts", "cleancache_puts_refused"),
    ("cleancache: hits", "cleancache_hits", None),
    ("cleancache: misses", "cleancache_misses", None),
    ("pages of files read from disk", "file_reads", None),
)


def memory_rows(schemes: Sequence[MemoryFigures]) -> Iterator[tuple[str, ...]]:
    """Heading and one cell a scheme; a row in which every scheme has nothing is left out."""
    for source in Source:
        if any(one.growth.get(source) for one in schemes):
            where = "in tmem, in no tot_pages" if source in NO_TOT_PAGES else "tot_pages grown"
            yield (f"{where}: {source} (pages)", *(f"{one.growth.get(source, 0):,}" for one in schemes))
    for source in Source:
        for reason in Reason:
            cells = [one.refused.get(source, {}).get(reason) for one in schemes]
            if any(cells):
                yield (f"refused, {reason}: {source}", *map(_refused, cells))
    if any(one.crashed for one in schemes):
        yield ("guests crashed for lack of a page", *(f"{one.crashed:,}" for one in schemes))
    for title, name, beside in _PAGING:
        if any(getattr(one.paging, name) for one in schemes) and any(_uses_tmem(one) for one in schemes):
            yield (title, *(_paging(one.paging, name, beside) for one in schemes))


def _refused(one: Refused | None) -> str:
    if one is None:
        return "0"
    return f"{one.times:,} ({one.domains} domain{'s' if one.domains > 1 else ''})"


def _uses_tmem(figures: MemoryFigures) -> bool:
    paging = figures.paging
    return bool(paging.file_references or paging.frontswap_stores or paging.frontswap_refused)


def _paging(paging: PagingCounts, name: str, beside: str | None) -> str:
    text = f"{getattr(paging, name):,}"
    return text if beside is None else f"{text} ({getattr(paging, beside):,})"
