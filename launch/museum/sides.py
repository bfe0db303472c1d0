"""Both sides of every exhibit: the world, the release and the scheme with its switch on, and with it off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from hypervisor.core.releases import RELEASES, Release
from launch.explore.small_world import SmallWorld
from launch.explore.worlds.claim_in_window import HugeClaimInWindow
from launch.explore.worlds.observer import ObserverOfSuperpages
from launch.museum.exhibit import Side
from launch.museum.schemes.balancing import BalanceOutsideLock, Qmemman
from launch.museum.schemes.blocking import BlockedUntilStarted, InheritedSocket
from launch.museum.schemes.claiming import EnosysSwallowed, EvenOrdersLook
from launch.museum.schemes.counting import Counting, NothingAssumed, RejectedCounts
from launch.museum.schemes.looking import FreeAlone, Looking, TwoReadings
from launch.museum.schemes.squeezing import LimitAsRead, ReservedTwice
from launch.museum.worlds.beside_claim import BesideClaim
from launch.museum.worlds.dom0 import MINIMUM, Dom0Gives
from launch.museum.worlds.dying import ClaimOnDying
from launch.museum.worlds.fallback import Fallback
from launch.museum.worlds.following import FollowingGuest
from launch.museum.worlds.half_covered import HalfCovered
from launch.museum.worlds.hvm import HvmBuild
from launch.museum.worlds.launching import (
    BesideGuest,
    OneAfterTheOther,
    OneTooLarge,
    TooLarge,
    TwoAtOnce,
    TwoThatFit,
    TwoToolstacks,
)
from launch.museum.worlds.nominated import NominatedUnderClaim
from launch.museum.worlds.offlining import OfflinedUnderClaim
from launch.museum.worlds.starved_owner import StarvedOwner
from launch.museum.worlds.tmem_list import TmemList
from toolstack.claim import Claim
from toolstack.interface import Scheme
from toolstack.lock import Lock
from toolstack.squeezed import Squeezed

Sides = tuple[Side, Side]
"""(with the bug, without it)."""

_4_3: Final = RELEASES["4.3"]
_4_21: Final = RELEASES["4.21"]
_4_22: Final = RELEASES["4.22"]
_SETS: Final = RELEASES["claim-sets"]
_BEFORE_CLAIMS: Final = replace(_4_3, name="4.2", claim_pages=False)
_LOCK: Final = MappingProxyType({"dom0_minimum": MINIMUM, "lock_seconds": 10.0, "credit_seconds": 2.0})
_SQUEEZED: Final = MappingProxyType({"slush_pages": 0, "emergency_pages": 0, "balance_seconds": 25.0})
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def _release(world: SmallWorld, sound: Release, **switches: bool) -> Sides:
    """A release with switches turned, and as it is. Its name stays: what it may break is asked by name."""
    turned = replace(sound, **switches)  # type: ignore[arg-type]  # every switch is a bool
    return Side(world, turned), Side(world, sound)


def _scheme(
    world: SmallWorld,
    release: Release,
    wrong: type[Scheme],
    sound: type[Scheme],
    parameters: Mapping[str, Any] = _NONE,
) -> Sides:
    """One scheme with a slip, and without it."""
    return (
        Side(world, release, lambda: wrong(dict(parameters))),
        Side(world, release, lambda: sound(dict(parameters))),
    )


def _world(
    wrong: SmallWorld,
    sound: SmallWorld,
    release: Release,
    scheme: type[Scheme],
    parameters: Mapping[str, Any] = _NONE,
) -> Sides:
    """The same scheme, where something else of the world differs."""
    return (
        Side(wrong, release, lambda: scheme(dict(parameters))),
        Side(sound, release, lambda: scheme(dict(parameters))),
    )


_XEN: Final[Mapping[str, Sides]] = {
    "negative-free": _release(ObserverOfSuperpages(), _4_22, claim_consumed_at_alloc=False),
    "wrapped-claim": _release(
        HugeClaimInWindow(), replace(_4_21, claim_consumed_at_alloc=True), claim_consumed_at_alloc=False
    ),
    "dying-claim": _release(ClaimOnDying(), _4_22, claim_on_dying_refused=False),
    "regrown-claim": _release(NominatedUnderClaim(), _4_21, free_regrows_claim=True),
    "claim-lost": _release(Fallback(), _4_21, claim_consumed_at_alloc=True),
    "half-covered": _release(HalfCovered(), _SETS, claim_covers_shortfall=False),
    "starved-owner": _release(StarvedOwner(), _SETS, host_test_counts_node_claims=False),
    "offlined-under-claim": _release(OfflinedUnderClaim(), _SETS, offlining_recalls_claims=False),
    "tmem-list": _release(TmemList(), replace(_4_3, tmem_list_past_claims=False), tmem_list_past_claims=True),
}
"""Bugs of Xen itself: claims that leak, grow, go, or are counted too late."""

_BUILDERS: Final[Mapping[str, Sides]] = {
    "torn-physinfo": _scheme(BesideClaim(), _4_22, TwoReadings, Looking),
    "freemem": _scheme(BesideClaim(), _4_22, FreeAlone, Looking),
    "enosys-swallowed": _scheme(TooLarge(), _BEFORE_CLAIMS, EnosysSwallowed, Claim),
    "hvm-additional": _world(HvmBuild("hvm-4.3"), HvmBuild("hvm-4.4"), _4_3, Claim),
    "mixed-builders": _scheme(TwoToolstacks(), _4_22, EvenOrdersLook, Claim),
}
"""Bugs of those who claim, and of those who only look: libxc, xl, XAPI's builders."""

_DAEMONS: Final[Mapping[str, Sides]] = {
    "unlocked-rebalance": _scheme(BesideGuest(), _4_22, BalanceOutsideLock, Qmemman),
    "inherited-socket": _scheme(TwoThatFit(), _4_22, InheritedSocket, BlockedUntilStarted),
    "second-toolstack": _world(Dom0Gives(toolstacks=2), Dom0Gives(toolstacks=1), _4_22, Lock, _LOCK),
    "reserved-twice": _scheme(OneAfterTheOther(), _4_22, ReservedTwice, Squeezed, _SQUEEZED),
    "mebibyte-forgotten": _scheme(FollowingGuest(), _4_22, LimitAsRead, Squeezed, _SQUEEZED),
    "rejected-counts": _scheme(OneTooLarge(), _4_22, RejectedCounts, Counting),
    "nothing-assumed": _scheme(TwoAtOnce(), _4_22, NothingAssumed, Counting),
}
"""Bugs of daemons and schedulers that keep books beside the hypervisor's."""

SIDES: Final[Mapping[str, Sides]] = MappingProxyType({**_XEN, **_BUILDERS, **_DAEMONS})
