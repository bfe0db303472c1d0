"""Amounts of memory as xl takes them: MiB, or a number with b, k, m, g or t."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from hypervisor.public.units import PAGE_SIZE, PAGES_PER_MIB, Pages
from launch.live.shell.answer import CommandFailedError

_BYTES: Final = MappingProxyType(
    {"b": 1, "k": 1 << 10, "": 1 << 20, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
)
_AMOUNT: Final = re.compile(r"(\d+)([bkmgt]?)b?", re.IGNORECASE)


def parse_amount(text: str) -> Pages:
    """Whole pages. CommandFailedError for anything else."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise CommandFailedError(f"{text} is no amount of memory: write MiB, or 512m, 2g, 4096k (EINVAL)")
    pages, rest = divmod(int(match[1]) * _BYTES[match[2].lower()], PAGE_SIZE)
    if rest or not pages:
        raise CommandFailedError(f"{text} is no whole number of 4 KiB pages above 0 (EINVAL)")
    return pages


def mib(pages: Pages) -> int:
    """MiB, rounded down as xl does."""
    return pages // PAGES_PER_MIB
