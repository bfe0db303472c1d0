"""A host as squeezed sees it, and the two sums it makes of it (Q2, Q6). Quantities are pages."""

from __future__ import annotations

from dataclasses import dataclass

from hypervisor.public.units import Pages
from toolstack.limits import Key
from toolstack.need import MAXMEM_CONSTANT


@dataclass(frozen=True, slots=True)
class SqueezedDomain:
    """One domain between its dynamic minimum and maximum."""

    key: Key
    dyn_min: Pages
    dyn_max: Pages
    target: Pages
    """memory/target as last asked for."""
    actual: Pages
    """tot_pages less the memory offset (Q7)."""
    booted: bool
    """control/feature-balloon or data/updated is there: it has a balloon driver."""
    hvm: bool = True
    initial_reservation: Pages = 0
    """Of a domain under construction: what was transferred to it."""
    shadow: Pages = 0
    """Of that, what Xen's own share of the domain has used."""

    @property
    def still_to_take(self) -> Pages:
        """Q2: a domain that has not booted counts with its reservation until it has taken it."""
        return 0 if self.booted else max(0, self.initial_reservation - self.actual - self.shadow)


@dataclass(frozen=True, slots=True)
class SqueezedHost:
    """One stitched snapshot: physinfo and the domain list are separate hypercalls (its own error)."""

    physical_free: Pages
    """free + scrub."""
    reservations: Pages
    """Not transferred to any domain yet."""
    domains: tuple[SqueezedDomain, ...]

    @property
    def free(self) -> Pages:
        """Q2; may be negative, when guests have taken what was reserved."""
        building = sum(domain.still_to_take for domain in self.domains)
        return self.physical_free - self.reservations - building


def maxmem(domain: SqueezedDomain, *, active: bool, target: Pages) -> Pages:
    """Q6: an active domain's limit is its new target, an inactive one is held where it is.

    One that never ran may have its reservation and no more.
    """
    if active:
        return target
    if not domain.booted and domain.initial_reservation:
        return domain.initial_reservation
    return min(max(min(target, domain.actual), domain.dyn_min), domain.dyn_max)


def max_pages(domain: SqueezedDomain, limit: Pages, offset: Pages) -> Pages:
    """What setmaxmem is given for it: 1 MiB more for HVM, nothing for PV (Q6), moved by the offset (Q7)."""
    return max(limit + (MAXMEM_CONSTANT if domain.hvm else 0) + offset, 0)
