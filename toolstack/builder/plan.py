"""A build as a plan: populate attempts, one after the other, each told how the last one went.

A plan is a generator. It yields an `Attempt` and is sent the number of extents done, so it can be read,
tested and replayed without a hypervisor; `build` carries it out.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from hypervisor.public.units import Gfn, Order, Pages

ORDER_2M: Final[Order] = 9
ORDER_1G: Final[Order] = 18


@dataclass(frozen=True, slots=True)
class Attempt:
    """One populate_physmap: `count` extents of 2^order pages from `gfn` on.

    `exact`: fewer than asked for end the build (xc_domain_populate_physmap_exact, L8); otherwise the plan
    goes on with what it got.
    """

    gfn: Gfn
    count: int
    order: Order
    exact: bool
    mem_flags: int = 0

    @property
    def pages(self) -> Pages:
        """Pages asked for."""
        return self.count << self.order


@dataclass(frozen=True, slots=True)
class ClaimHere:
    """The place in the plan at which a claiming builder claims, and for how many pages in total."""

    pages: Pages


@dataclass(frozen=True, slots=True)
class PodTargetHere:
    """The place at which a populate-on-demand builder has Xen fill the domain's cache to this tot_pages."""

    pages: Pages


Plan = Generator[Attempt | ClaimHere | PodTargetHere, int, None]
"""Yields what to do next, is sent the extents done (0 after `ClaimHere` and `PodTargetHere`)."""
