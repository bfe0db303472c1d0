"""HVM builds: meminit_hvm of Xen 4.17 and setup_guest of 4.3 (L5, L7).

The guest's first 640 KiB are single pages, the VGA hole is left out, then come the largest extents
that fit: 1 GiB, up to four of 2 MiB a call, single pages for what is left of that piece.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Final

from hypervisor.public.memory import MEMF_POPULATE_ON_DEMAND
from hypervisor.public.units import Gfn, Pages
from toolstack.builder.plan import ORDER_1G, ORDER_2M, Attempt, ClaimHere, Plan, PodTargetHere

LOW_PAGES: Final[Pages] = 0xA0
VGA_HOLE_END: Final[Pages] = 0xC0
VGA_HOLE: Final[Pages] = VGA_HOLE_END - LOW_PAGES
MMIO_START: Final[Gfn] = 0xF0000
MMIO_END: Final[Gfn] = 0x100000
"""The hole below 4 GiB; RAM that would lie there lies above it."""
PAGES_2M: Final[Pages] = 1 << ORDER_2M
PAGES_1G: Final[Pages] = 1 << ORDER_1G
PIECE: Final[Pages] = 4 * PAGES_2M


def hvm_4_17(pages: Pages) -> Plan:
    """Claims the target less the VGA hole before the first page (L7)."""
    yield ClaimHere(max(pages - VGA_HOLE, 0))
    yield from _low_pages(pages)
    yield from _ram(pages)


def hvm_4_3(pages: Pages) -> Plan:
    """Claims after the low pages, and too little: the claim is a total, the code passed a rest (L5)."""
    yield from _low_pages(pages)
    # The historic bug: nr_pages - cur_pages, although 0xa0 pages are in tot_pages already.
    yield ClaimHere(max(pages - VGA_HOLE_END, 0))
    yield from _ram(pages)


def hvm_4_4(pages: Pages) -> Plan:
    """hvm_4_3 as 46b5f0fd1f mended it for 4.4: what is claimed is a total (L5)."""
    yield from _low_pages(pages)
    yield ClaimHere(max(pages - VGA_HOLE, 0))
    yield from _ram(pages)


def hvm_pod_4_17(pages: Pages, max_pages: Pages) -> Plan:
    """Memory below maxmem: claim, then the cache, then every gfn up to maxmem marked (L7, A29)."""
    yield ClaimHere(max(pages - VGA_HOLE, 0))
    yield PodTargetHere(max(pages - VGA_HOLE, 0))
    yield from _on_demand(_low_pages(max_pages))
    yield from _on_demand(_ram(max_pages))


def hvm_pod_4_3(pages: Pages, max_pages: Pages) -> Plan:
    """The cache is filled before the claim, and the claim is for maxmem: mostly too much (L5)."""
    yield PodTargetHere(max(pages - VGA_HOLE, 0))
    yield from _on_demand(_low_pages(max_pages))
    yield ClaimHere(max(max_pages - VGA_HOLE_END, 0))
    yield from _on_demand(_ram(max_pages))


def _on_demand(plan: Plan) -> Plan:
    """The same attempts with the flag: gfns are marked, no page is taken (A9)."""
    step = next(plan, None)
    while step is not None:
        done = yield replace(step, mem_flags=MEMF_POPULATE_ON_DEMAND) if isinstance(step, Attempt) else step
        try:
            step = plan.send(done)
        except StopIteration:
            return


def populated_by_hvm(pages: Pages) -> Pages:
    """tot_pages after the build of a guest with `pages` of RAM: the VGA hole has no memory."""
    return min(pages, LOW_PAGES) + max(pages - VGA_HOLE_END, 0)


def _low_pages(pages: Pages) -> Plan:
    yield Attempt(0, min(LOW_PAGES, pages), 0, exact=True)


def _ram(pages: Pages) -> Plan:
    current = VGA_HOLE_END
    while current < pages:
        first = gfn_of(current)
        count = clip(first, min(pages - current, PAGES_1G), ORDER_1G)
        if not (count | first) & (PAGES_1G - 1) and clear_of_hole(current, count):
            done = (yield Attempt(first, count >> ORDER_1G, ORDER_1G, exact=False)) << ORDER_1G
            current, count = current + done, count - done
        if count:
            current += yield from _piece(current, count)


def _piece(current: Pages, count: Pages) -> Generator[Attempt | ClaimHere | PodTargetHere, int, Pages]:
    """At most 8 MiB: superpages if aligned, single pages for the rest; pages populated."""
    first = gfn_of(current)
    count = clip(first, min(count, PIECE), ORDER_2M)
    if current < MMIO_START < current + count:
        count = MMIO_START - current
    populated = 0
    if not (count | first) & (PAGES_2M - 1):
        populated = (yield Attempt(first, count >> ORDER_2M, ORDER_2M, exact=False)) << ORDER_2M
    if populated < count:
        yield Attempt(gfn_of(current + populated), count - populated, 0, exact=True)
    return count


def clip(first: Gfn, count: Pages, order: int) -> Pages:
    """Up to the next boundary of 2^order pages if `first` is not on one, else whole extents if any fit."""
    size = 1 << order
    to_boundary = -first & (size - 1)
    if to_boundary and count > to_boundary:
        return to_boundary
    if count & (size - 1) and count > size:
        return count & ~(size - 1)
    return count


def clear_of_hole(current: Pages, count: Pages) -> bool:
    """True when that RAM does not reach across the MMIO hole."""
    return not current < MMIO_START < current + count


def gfn_of(page: Pages) -> Gfn:
    """Where the guest's RAM page number `page` lies."""
    return page if page < MMIO_START else page + MMIO_END - MMIO_START
