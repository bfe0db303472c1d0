"""Free pages before and after a line, less what Xen frees in its own time.

The structures of a destroyed domain return to the heap after an RCU grace period, so `free` may rise by
them during any later line. Every other change of `free` is the operation's own and must be equal.
"""

from dataclasses import dataclass
from typing import Final

from hypervisor.public.units import Pages
from launch.conform.recording import Line

FREES_LATER: Final = frozenset({"destroy", "unmap"})
"""Operations after which Xen still holds pages that the core has freed already."""


@dataclass(slots=True)
class PendingFrees:
    """Pages that the core has free and Xen has not yet."""

    last_free: Pages
    pages: Pages = 0

    def before(self, line: Line) -> None:
        """What came back since the last line is no longer pending."""
        self.pages = max(self.pages - max(line.free_before - self.last_free, 0), 0)

    def after(self, line: Line, change: Pages, xen_cost: int = 0) -> bool:
        """True when Xen's free pages changed as the core's, which changed by `change`.

        `xen_cost`: how many pages more than the core Xen freed of its own, by the sum of all counters.
        """
        more = line.state.free - line.free_before - change - xen_cost
        self.last_free = line.state.free
        if line.op in FREES_LATER:
            self.pages = max(self.pages - more, 0)
            return True
        allowed = 0 <= more <= self.pages
        self.pages -= more if allowed else 0
        return allowed
