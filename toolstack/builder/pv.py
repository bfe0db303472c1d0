"""PV builds: meminit_pv of Xen 4.17 and arch_setup_meminit of 4.3 (L4, L6)."""

from __future__ import annotations

from typing import Final

from hypervisor.public.units import Pages
from toolstack.builder.plan import ORDER_2M, Attempt, ClaimHere, Plan

SUPERPAGE_BATCH: Final = 512
"""2-MiB extents in one call: 1 GiB."""
SMALL_BATCH: Final[Pages] = 1 << 20
"""Single pages in one call."""


def pv_4_17(pages: Pages) -> Plan:
    """Superpages as far as they come; what they leave out is filled with single pages (L6)."""
    yield ClaimHere(pages)
    populated = 0
    superpages = pages >> ORDER_2M
    while superpages:
        count = min(superpages, SUPERPAGE_BATCH)
        superpages -= count
        # A short batch is no error: the next one goes on behind what was got.
        populated += (yield Attempt(populated, count, ORDER_2M, exact=False)) << ORDER_2M
    yield from _single_pages(populated, pages)


def pv_4_3(pages: Pages) -> Plan:
    """Single pages only (L4)."""
    yield ClaimHere(pages)
    yield from _single_pages(0, pages)


def _single_pages(populated: Pages, pages: Pages) -> Plan:
    while populated < pages:
        count = min(SMALL_BATCH, pages - populated)
        yield Attempt(populated, count, 0, exact=True)
        populated += count
