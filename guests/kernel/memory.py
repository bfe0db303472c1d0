"""A guest's own memory: free, resident and swapped pages, as arithmetic without clock or coroutine."""

from guests.kernel.swap import DiskSwap, Pager
from guests.kernel.swap_times import SwapTimes
from guests.report import Counters
from hypervisor.public.units import Pages, Seconds


class GuestMemory:
    """Pages of the guest's programs against the pages the guest has.

    `capacity` is what the page allocator holds, `resident` the programs' pages in it, `swapped` those in
    swap. `unmet` is demand that is in neither: programs wait until the balloon brings pages, the kernel
    swaps (`swap_unmet`) or the killer ends one of them. `pager` sees to the swapped pages themselves;
    without one they lie on disk.
    """

    def __init__(
        self,
        capacity: Pages,
        swap_size: Pages,
        counters: Counters,
        now: Seconds,
        pager: Pager | None = None,
    ) -> None:
        self.capacity = capacity
        self.resident: Pages = 0
        self.swapped: Pages = 0
        self.wanted: Pages = 0
        self._swap_size = swap_size
        self._counters = counters
        self._accounted = now
        self._pager: Pager = pager or DiskSwap(counters)
        self.swap_times = SwapTimes()

    @property
    def free(self) -> Pages:
        """Pages no program holds, those of the page cache included: what Linux calls available."""
        return self.capacity - self.resident

    @property
    def unmet(self) -> Pages:
        """Pages wanted that are neither resident nor swapped."""
        return max(0, self.wanted - self.resident - self.swapped)

    def account(self, now: Seconds) -> None:
        """Charge the time since the last change: stalled while wanted pages are in swap, else waited for."""
        passed = now - self._accounted
        self._accounted = now
        if self.swapped > self._pager.lingering:
            self._counters.stalled_s += passed
        elif self.unmet:
            self._counters.waited_s += passed

    def want(self, pages: Pages, now: Seconds) -> None:
        """The programs want `pages` in all from now on."""
        self.account(now)
        self.wanted = pages
        surplus = max(0, self.resident + self.swapped - pages)
        # Swap holds the least recently used pages, and those are what programs let go first.
        dropped = min(surplus, self.swapped)
        self.swapped -= dropped
        self._pager.drop(dropped)
        self.resident -= surplus - dropped
        self._use_free()

    def receive(self, pages: Pages, now: Seconds) -> None:
        """The balloon brought `pages`."""
        self.account(now)
        self.capacity += pages
        self._use_free()

    def take_back(self, now: Seconds) -> None:
        """Swapped pages that are wanted again come back, as far as there is room."""
        self.account(now)
        self._use_free()

    def give(self, pages: Pages, now: Seconds) -> Pages:
        """Allocate up to `pages` for the balloon, swapping programs out; fewer when swap is full (G4)."""
        self.account(now)
        self._swap_out(max(0, pages - self.free))
        given = min(pages, self.free)
        self.capacity -= given
        return given

    def swap_unmet(self, now: Seconds) -> None:
        """Meet unmet demand by swap, as far as there is room."""
        self.account(now)
        # A new page is resident and an old one leaves for swap: only the sum in swap changes.
        self._count_out(min(self.unmet, self._swap_size - self.swapped))

    def _swap_out(self, pages: Pages) -> None:
        out = min(pages, self.resident, self._swap_size - self.swapped)
        self.resident -= out
        self._count_out(out)

    def _count_out(self, pages: Pages) -> None:
        self.swapped += pages
        self._pager.out(pages)
        self._counters.swapped_out += pages
        self.swap_times.add(self._accounted, out=pages)
        if not self._counters.pages_refused:
            self._counters.swapped_unrefused += pages
        self._counters.highest_swapped = max(self._counters.highest_swapped, self.swapped)

    def _use_free(self) -> None:
        """Free pages go to programs that wait, then to what is wanted of the swap."""
        self.resident += min(self.free, self.unmet)
        back = min(self.free, self.swapped - self._pager.lingering)
        self.swapped -= back
        self._pager.back(back)
        self.resident += back
        self._counters.swapped_in += back
        self.swap_times.add(self._accounted, back=back)
