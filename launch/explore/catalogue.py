"""The built-in small worlds by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from launch.errors import UsageError
from launch.explore.small_world import SmallWorld
from launch.explore.worlds.claim_in_window import (
    ClaimInWindow,
    ClaimInWindowOfSuperpages,
    HugeClaimInWindow,
    HugeClaimInWindowOfSuperpages,
)
from launch.explore.worlds.claim_race import ClaimRace
from launch.explore.worlds.claim_vs_populate import ClaimVsPopulate
from launch.explore.worlds.freeze import Freeze
from launch.explore.worlds.generated import Generated
from launch.explore.worlds.observer import Observer, ObserverOfSuperpages
from launch.explore.worlds.toctou import Toctou
from launch.explore.worlds.two_builders import CheckPopulate, ClaimPopulate
from launch.explore.worlds.two_claims import ClaimSameDomain, ClaimTwoDomains

_ALL: Final[tuple[type[SmallWorld], ...]] = (
    Toctou,
    ClaimRace,
    Generated,
    CheckPopulate,
    ClaimPopulate,
    ClaimVsPopulate,
    ClaimTwoDomains,
    ClaimSameDomain,
    Freeze,
    Observer,
    ObserverOfSuperpages,
    ClaimInWindow,
    HugeClaimInWindow,
    ClaimInWindowOfSuperpages,
    HugeClaimInWindowOfSuperpages,
)
WORLDS: Final[Mapping[str, type[SmallWorld]]] = MappingProxyType({one.name: one for one in _ALL})


def small_world(name: str, changes: Mapping[str, int]) -> SmallWorld:
    """The world of that name with its parameters changed. Raises UsageError."""
    kind = WORLDS.get(name)
    if kind is None:
        raise UsageError(f"no small world {name!r}: name one of {', '.join(WORLDS)}")
    for key in changes:
        if key not in kind.parameters:
            known = ", ".join(("release", *kind.parameters))
            raise UsageError(f"--set {key}: {name} has no such key; it has {known}")
    return kind(**changes)
