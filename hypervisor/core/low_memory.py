"""VIRQ_ENOMEM: the hypervisor's warning that memory runs low (rule A27, check_low_mem_virq)."""

from dataclasses import dataclass
from typing import Final

from hypervisor.public.units import PAGES_PER_MIB, ULONG_MASK, Pages

DEFAULT_THRESHOLD: Final = 64 * PAGES_PER_MIB
MAX_THRESHOLD: Final = 1024 * PAGES_PER_MIB
NEVER_HIGH: Final = ULONG_MASK


@dataclass(slots=True)
class LowMemoryVirq:
    """Threshold with hysteresis, in pages. Only looked at when an allocation has succeeded."""

    threshold: Pages = 0
    original: Pages = 0
    order: int = 0
    high: Pages = NEVER_HIGH

    def set_up(self, wanted: Pages | None, available: Pages) -> None:
        """setup_low_mem_virq: a power of two at or below the wanted threshold.

        `wanted` None is Xen's default. 0 was meant to switch the warning off but stores an all-ones
        threshold, so that it fires at every allocation; kept as it is (A27).
        """
        if wanted == 0:
            self.threshold = ULONG_MASK
            return
        pages = min(DEFAULT_THRESHOLD if wanted is None else wanted, MAX_THRESHOLD, available)
        if wanted is None and pages == available:
            pages //= 2
        self.order = max(pages, 1).bit_length() - 1
        self.threshold = self.original = 1 << self.order
        self.high = NEVER_HIGH

    def check(self, available: int) -> bool:
        """True when the VIRQ must be raised. `available` is free less claims, as unsigned long."""
        available &= ULONG_MASK
        if available <= self.threshold:
            self.high = _power(self.order + 1)
            self.order = max(self.order - 1, 0)
            self.threshold = _power(self.order)
            return True
        if available >= self.high:
            self.order += 1
            self.threshold = _power(self.order)
            self.high = NEVER_HIGH if self.threshold == self.original else _power(self.order + 2)
        return False

    def content(self) -> tuple[int, ...]:
        """What the host digest covers."""
        return (self.threshold, self.original, self.order, self.high)


def _power(order: int) -> Pages:
    # A negative free - claims wraps (C27) and looks like plenty, so the order can climb without end; x86
    # takes a shift count modulo 64.
    return 1 << (order & 63)
