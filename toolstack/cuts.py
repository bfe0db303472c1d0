"""How a clamp is spread over domains: which give how much of their max_pages (P2, steps 2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hypervisor.public.units import Pages

Cuts = Literal["equal", "proportional", "largest-slack"]


def spread(kind: Cuts, total: Pages, headrooms: Sequence[Pages]) -> list[Pages]:
    """Cuts that add up to `total`, none above its domain's headroom (max_pages - tot_pages).

    When the headrooms together are less than `total`, all of them are given.
    """
    if total >= sum(headrooms):
        return list(headrooms)
    match kind:
        case "equal":
            return _equal(total, headrooms)
        case "proportional":
            return _proportional(total, headrooms)
        case "largest-slack":
            return _largest_first(total, headrooms)


def literal_equal(total: Pages, count: int) -> list[Pages]:
    """M / L each, whatever that does to whom: the seed's reading of step 3."""
    share, rest = divmod(total, count)
    return [share + (index < rest) for index in range(count)]


def _equal(total: Pages, headrooms: Sequence[Pages]) -> list[Pages]:
    """The same for everybody, where somebody's headroom is smaller the others give more."""
    cuts = [0] * len(headrooms)
    open_ones = sorted(range(len(headrooms)), key=lambda index: headrooms[index])
    for position, index in enumerate(open_ones):
        remaining = len(open_ones) - position
        cuts[index] = min(headrooms[index], -(-total // remaining))
        total -= cuts[index]
    return cuts


def _proportional(total: Pages, headrooms: Sequence[Pages]) -> list[Pages]:
    """In proportion to headroom; what rounding leaves over comes from the first that have more."""
    room = sum(headrooms)
    cuts = [total * headroom // room for headroom in headrooms]
    missing = total - sum(cuts)
    for index, headroom in enumerate(headrooms):
        if missing and cuts[index] < headroom:
            cuts[index] += 1
            missing -= 1
    return cuts


def _largest_first(total: Pages, headrooms: Sequence[Pages]) -> list[Pages]:
    """Whoever has the largest slack gives all of it, then the next."""
    cuts = [0] * len(headrooms)
    for index in sorted(range(len(headrooms)), key=lambda index: -headrooms[index]):
        cuts[index] = min(headrooms[index], total)
        total -= cuts[index]
    return cuts
