"""Which extents each domain holds, by the order they were taken in: what the recording program kept.

A PV domain names its frames by mfn, an HVM domain by gfn. The recording tells only how many extents were
named; any choice among those held gives the same counters.
"""

from dataclasses import dataclass, field
from typing import Final

from hypervisor.public.units import MAX_ORDER, Order, Pages, Run, Runs, runs_length

NO_FRAME: Final = 1 << 40
"""A frame number that no domain has, aligned to every order."""


def _lists() -> list[list[Run]]:
    return [[] for _ in range(MAX_ORDER + 1)]


@dataclass(slots=True)
class HeldExtents:
    """Extents of one domain as runs, per order; the last taken is given back first."""

    hvm: bool
    runs: list[list[Run]] = field(default_factory=_lists)
    next_gfn: int = 0

    def new_gfns(self, count: int, order: Order) -> Runs:
        """Gfns never used before for `count` extents (HVM), or placeholders of the right number (PV)."""
        if not count or order > MAX_ORDER:
            return ((0, count),) if count else ()
        first = -(-self.next_gfn >> order) << order
        if self.hvm:
            self.next_gfn = first + (count << order)
        return ((first, count),)

    def add(self, extents: Runs, order: Order) -> None:
        """Extents the domain has got."""
        self.runs[order] += [run for run in extents if run[1]]

    def take(self, count: int, order: Order) -> Runs:
        """Remove up to `count` extents of this order, splitting larger ones only when there are no others."""
        taken: list[Run] = []
        while count:
            if not self.runs[order] and not self._split(order):
                break
            first, held = self.runs[order].pop()
            now = min(held, count)
            if now < held:
                self.runs[order].append((first, held - now))
            taken.append((first + ((held - now) << order), now))
            count -= now
        return tuple(taken)

    def peek(self, count: int, order: Order) -> Runs:
        """The same extents, but they stay listed."""
        taken = self.take(count, order)
        self.add(tuple(reversed(taken)), order)
        return taken

    def _split(self, order: Order) -> bool:
        for larger in range(order + 1, MAX_ORDER + 1):
            if self.runs[larger]:
                first, held = self.runs[larger].pop()
                if held > 1:
                    self.runs[larger].append((first, held - 1))
                extent = first + ((held - 1) << larger)
                self.runs[order].append((extent, 1 << (larger - order)))
                return True
        return False


def first_extents(extents: Runs, count: int) -> Runs:
    """The first `count` extents of the list."""
    kept: list[Run] = []
    for first, held in extents:
        if count <= 0:
            break
        kept.append((first, min(held, count)))
        count -= held
    return tuple(kept)


def after_extents(extents: Runs, count: int, order: Order) -> Runs:
    """The list without its first `count` extents."""
    rest: list[Run] = []
    for first, held in extents:
        gone = min(held, count)
        count -= gone
        if gone < held:
            rest.append((first + (gone << order), held - gone))
    return tuple(rest)


def with_bad_extent(extents: Runs, at: int, order: Order) -> Runs:
    """The list with its extent number `at` replaced by one that is nobody's; unchanged when shorter."""
    if at >= runs_length(extents):
        return extents
    return (*first_extents(extents, at), (NO_FRAME, 1), *after_extents(extents, at + 1, order))


def pages_in(extents: Runs, order: Order) -> Pages:
    """Pages in a list of extents."""
    return runs_length(extents) << order
