"""Figures between two snapshots of the same host: rates, and who is busy."""

from __future__ import annotations

from dataclasses import dataclass

from hypervisor.public.domctl import DOMINF_PAUSED
from hypervisor.public.observation import DomainSnapshot, Snapshot
from hypervisor.public.units import DOMID_DOM0, Pages


@dataclass(frozen=True, slots=True)
class Busy:
    """A guest and what it asks for."""

    domain: DomainSnapshot
    per_second: float
    """Requests answered in a real second."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Two looks at one host, `seconds` real seconds apart; the first look has nothing before it."""

    now: Snapshot
    before: Snapshot | None = None
    seconds: float = 0.0

    @property
    def emulated_speed(self) -> float:
        """Emulated seconds in a real one."""
        return self._rate(self.now.seconds - self.before.seconds) if self.before else 0.0

    @property
    def requests_per_second(self) -> float:
        """Requests taken in."""
        return self._rate(self.now.requests - self.before.requests) if self.before else 0.0

    @property
    def steps_per_second(self) -> float:
        """Atomic steps done."""
        return self._rate(self.now.steps - self.before.steps) if self.before else 0.0

    def growth_per_second(self) -> dict[str, float]:
        """Pages by source, of those that grew."""
        before = {} if self.before is None else self.before.growth
        rates = {source: self._rate(now - before.get(source, 0)) for source, now in self.now.growth.items()}
        return {source: rate for source, rate in rates.items() if rate}

    def guests(self) -> list[Busy]:
        """All domains but dom0 and those that are being built, the busiest first."""
        earlier = {} if self.before is None else {key_of(one): one for one in self.before.domains}
        found = [
            Busy(one, self._rate(one.operations - (seen.operations if seen else 0)) if self.before else 0.0)
            for one in self.now.domains
            if one.domid != DOMID_DOM0 and not is_built_now(one)
            for seen in [earlier.get(key_of(one))]
        ]
        return sorted(found, key=lambda one: (-one.per_second, one.domain.domid))

    def _rate(self, difference: float) -> float:
        return difference / self.seconds if self.seconds > 0 else 0.0


def key_of(domain: DomainSnapshot) -> tuple[int, int]:
    """(domid, incarnation)."""
    return domain.domid, domain.incarnation


def is_built_now(domain: DomainSnapshot) -> bool:
    """A domain that nobody has spoken for and that does not run: a toolstack is at it."""
    return bool(domain.flags & DOMINF_PAUSED) and not domain.name and not domain.is_dying


def builds(snapshot: Snapshot) -> list[DomainSnapshot]:
    """Builds in flight."""
    return [one for one in snapshot.domains if one.domid != DOMID_DOM0 and is_built_now(one)]


@dataclass(frozen=True, slots=True)
class Shares:
    """A host's memory in three parts that add up, in pages."""

    used: Pages
    claimed: Pages
    free: Pages
    """Neither used nor claimed."""


def shares(snapshot: Snapshot) -> Shares:
    """What is claimed is part of what is free, but for what tmem would have to give back for it."""
    claimed = min(snapshot.outstanding_pages, snapshot.free_pages)
    free = snapshot.free_pages - claimed
    return Shares(snapshot.total_pages - snapshot.free_pages, claimed, free)


def refused_by_reason(snapshot: Snapshot) -> list[tuple[str, str, int]]:
    """(reason, source, times), the most frequent first."""
    counted: dict[tuple[str, str], int] = {}
    for one in snapshot.refused:
        counted[one.reason, one.source] = counted.get((one.reason, one.source), 0) + one.times
    found = [(reason, source, times) for (reason, source), times in counted.items()]
    return sorted(found, key=lambda one: (-one[2], one))
