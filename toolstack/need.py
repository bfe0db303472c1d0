"""What a domain costs the host beside its own memory (L10, libxl_domain_need_memory)."""

from __future__ import annotations

from typing import Final

from hypervisor.public.units import PAGES_PER_MIB, Kib, Pages
from toolstack.builder.build import is_hvm

MAXMEM_CONSTANT: Final[Pages] = 256
"""LIBXL_MAXMEM_CONSTANT, 1024 KiB: what max_pages is set above the target (L2)."""
HVM_OVERHEAD: Final[Pages] = 512
PV_OVERHEAD: Final[Pages] = 256
ROUND_TO: Final[Pages] = 512
"""2 MiB."""


def paging_pool(pages: Pages, vcpus: int) -> Pages:
    """The default shadow or HAP pool: 4 * (256 * vcpus + 2 * maxmem in MiB) KiB, here in pages."""
    return 256 * vcpus + 2 * -(-pages // PAGES_PER_MIB)


def need_memory(builder: str, pages: Pages, vcpus: int) -> Pages:
    """Free pages that libxl wants to see before it builds."""
    need = pages + (paging_pool(pages, vcpus) + HVM_OVERHEAD if is_hvm(builder) else PV_OVERHEAD)
    return -(-need // ROUND_TO) * ROUND_TO


def max_mem_kib(pages: Pages) -> Kib:
    """The argument of max_mem for a domain of `pages` (L2)."""
    return 4 * (pages + MAXMEM_CONSTANT)
