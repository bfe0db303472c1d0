"""Who is to have how much: the proportional policy (Q4), and never raising before lowering (Q5). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hypervisor.public.units import Pages
from toolstack.limits import Key
from toolstack.squeeze.host import SqueezedDomain

ACCURACY: Final[Pages] = 1
"""domain_memory_accuracy, 4 KiB."""


def min_freeable(domain: SqueezedDomain) -> Pages:
    """Pages that a balloon can surely be brought to give: 2 x accuracy short of all above dyn_min."""
    return max(0, domain.actual - domain.dyn_min - 2 * ACCURACY)


def targets(free: Pages, wanted_free: Pages, domains: Sequence[SqueezedDomain]) -> dict[Key, Pages]:
    """Every domain's new target: dyn_min + gamma x (dyn_max - dyn_min), the same gamma for all.

    gamma = surplus / sum of ranges, between 0 and 1, where surplus is what is left of free and freeable
    memory when `wanted_free` is set apart. It stays a fraction: pages are rounded down.
    """
    surplus = max(0, free + sum(map(min_freeable, domains)) - wanted_free)
    total_range = sum(domain.dyn_max - domain.dyn_min for domain in domains)
    part = min(surplus, total_range)
    return {
        domain.key: domain.dyn_min
        + (part * (domain.dyn_max - domain.dyn_min) // total_range if total_range else 0)
        for domain in domains
    }


def first_lower_then_raise(
    wanted: Mapping[Key, Pages], domains: Sequence[SqueezedDomain], tolerance: Pages
) -> dict[Key, Pages]:
    """The targets to set now (Q5): while anybody is to come down, or has yet to, nobody is let up."""
    lower = {one.key: wanted[one.key] for one in domains if wanted[one.key] < one.target}
    coming_down = any(one.actual > one.target + tolerance for one in domains)
    if lower or coming_down:
        return lower
    return {one.key: wanted[one.key] for one in domains if wanted[one.key] > one.target}
