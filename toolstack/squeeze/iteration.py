"""One turn of squeezed's loop: from a snapshot to what is to be done, or to the verdict. Pure (Q3-Q6)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hypervisor.public.units import Pages
from toolstack.limits import Key
from toolstack.squeeze.host import SqueezedDomain, SqueezedHost, maxmem
from toolstack.squeeze.policy import first_lower_then_raise, min_freeable, targets


@dataclass(frozen=True, slots=True)
class Change:
    """What to set for one domain; None leaves it."""

    domain: SqueezedDomain
    target: Pages | None
    maxmem: Pages


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look at the host leads to."""

    changes: tuple[Change, ...]
    available: Pages
    """What may be promised, once `settled`."""
    settled: bool
    """No target is to change, and nobody need be waited for."""
    most: Pages
    """What would be available if every active domain went to its dynamic minimum."""
    refusing: tuple[Key, ...]
    """Inactive domains that hold more than their dynamic minimum."""


def turn(
    host: SqueezedHost,
    wanted_free: Pages,
    active: Collection[Key],
    tolerance: Pages,
    *,
    may_raise: bool,
    secure: bool = False,
) -> Turn:
    """Compute it. `active`: domains whose balloon driver works; `may_raise`: balancing, not reserving.

    As the original decides, free memory is available once every active domain is AT its target. With `secure`
    it need only not be above it: what its limit still lets it take is not available then. For guests that
    follow their targets that is the same; guests that size themselves are never all at theirs.
    """
    moving = [domain for domain in host.domains if domain.key in active]
    others = [domain for domain in host.domains if domain.key not in active]
    free = host.free - (sum(max(0, one.dyn_min - one.actual) for one in moving) if secure else 0)
    wanted = targets(free, wanted_free, moving)
    if not may_raise:
        wanted = {one.key: min(wanted[one.key], one.target) for one in moving}
    new = first_lower_then_raise(wanted, moving, tolerance)
    changes = tuple(_change(one, one.key in active, new.get(one.key)) for one in host.domains)
    return Turn(
        changes=changes,
        available=host.free - (sum(map(_growth, changes)) if secure else 0),
        settled=not new and not any(_off_target(one, tolerance, secure) for one in moving),
        most=free + sum(map(min_freeable, moving)),
        refusing=tuple(one.key for one in others if one.booted and min_freeable(one) > tolerance),
    )


def _change(domain: SqueezedDomain, active: bool, new_target: Pages | None) -> Change:
    target = domain.target if new_target is None else new_target
    return Change(domain, new_target, maxmem(domain, active=active, target=target))


def _growth(change: Change) -> Pages:
    """What a running domain may still take; one under construction is in Q2's sum already."""
    domain = change.domain
    return 0 if domain.initial_reservation else max(0, change.maxmem - domain.actual)


def _off_target(domain: SqueezedDomain, tolerance: Pages, secure: bool) -> bool:
    above = domain.actual - domain.target
    return above > tolerance or (not secure and -above > tolerance)
