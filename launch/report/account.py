"""Curves and bands of one host, kept while its journal goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.public.units import DomId, Pages, Seconds
from launch.check.states import Done
from launch.judge.cases import Key
from launch.report.curve import Curve
from launch.report.story import Band, BandKind, DomainStory

BANDS_KEPT: Final = 4000
"""Bands of a host; what comes later is left out of the charts."""


class _Domain:
    """One chosen domain."""

    __slots__ = ("key", "label", "max_pages", "outstanding", "tot_pages")

    def __init__(self, key: Key, label: str, limit: int) -> None:
        self.key = key
        self.label = label
        self.tot_pages, self.max_pages, self.outstanding = Curve(limit), Curve(limit), Curve(limit)

    def story(self) -> DomainStory:
        return DomainStory(
            *self.key, self.label, self.tot_pages.points, self.max_pages.points, self.outstanding.points
        )


class _OpenBand:
    """A claim or a clamp that has begun."""

    __slots__ = ("pages", "start")

    def __init__(self, start: Seconds, pages: Pages) -> None:
        self.start = start
        self.pages = pages


class Account:
    """Told of every step of one host."""

    def __init__(self, host: Host, chosen: Mapping[Key, str], limit: int) -> None:
        """`chosen`: the domains that get curves, and how the page calls them. `limit`: points of a curve."""
        self._host = host
        self.free, self.claims = Curve(limit), Curve(limit)
        self._domains = {key: _Domain(key, label, limit) for key, label in chosen.items()}
        self._lifetime: dict[Key, Pages] = {}
        self._open: dict[tuple[BandKind, Key], _OpenBand] = {}
        self.bands: list[Band] = []
        self._seen: dict[DomId, Key] = {}
        self._sums(0.0)

    def after(self, done: Done, now: Seconds) -> None:
        """What the step wrote."""
        self._sums(now)
        host = self._host
        for kind, number in done.step.writes:
            if kind == "domain":
                domain = host.domains.get(int(number))
                if domain is not None:
                    self._look(domain, now)
        if len(host.domids) != len(self._seen):
            self._count(now)

    def close(self, now: Seconds) -> None:
        """The journal has ended: what is open lasts until then."""
        for kind, key in list(self._open):
            self._end(kind, key, now)
        for curve in (self.free, self.claims):
            curve.end(now)
        for key in self._seen.values():
            one = self._domains.get(key)
            if one is not None:
                for curve in (one.tot_pages, one.max_pages, one.outstanding):
                    curve.end(now)

    def domains(self) -> list[DomainStory]:
        """The chosen ones that there were, in the order chosen."""
        return [one.story() for one in self._domains.values() if one.tot_pages.points]

    def _sums(self, now: Seconds) -> None:
        self.free.add(now, self._host.heap.total_avail)
        self.claims.add(now, self._host.outstanding_claims)

    def _count(self, now: Seconds) -> None:
        """A domain came or went."""
        host = self._host
        there = {domid: (domid, host.domains[domid].incarnation) for domid in host.domids}
        for domid, key in self._seen.items():
            if there.get(domid) != key:
                self._gone(key, now)
        self._seen = there
        for domid in host.domids:
            self._look(host.domains[domid], now)

    def _gone(self, key: Key, now: Seconds) -> None:
        for kind in BandKind:
            if (kind, key) in self._open:
                self._end(kind, key, now)
        one = self._domains.get(key)
        if one is not None:
            one.tot_pages.add(now, 0)
            one.max_pages.end(now)
            one.outstanding.end(now)

    def _look(self, domain: Domain, now: Seconds) -> None:
        key: Key = (domain.domid, domain.incarnation)
        highest = max(self._lifetime.get(key, 0), domain.max_pages)
        self._lifetime[key] = highest
        claimed = domain.outstanding_pages
        self._band(BandKind.CLAIM, key, now, claimed if claimed > 0 else None)
        lowered = domain.max_pages < highest and not domain.is_dying
        self._band(BandKind.CLAMP, key, now, domain.max_pages if lowered else None)
        one = self._domains.get(key)
        if one is not None:
            one.tot_pages.add(now, domain.tot_pages)
            one.max_pages.add(now, domain.max_pages)
            one.outstanding.add(now, claimed)

    def _band(self, kind: BandKind, key: Key, now: Seconds, pages: Pages | None) -> None:
        """`pages` None: it is none, or no longer."""
        band = self._open.get((kind, key))
        if band is None:
            if pages is not None:
                self._open[kind, key] = _OpenBand(now, pages)
        elif pages is None:
            self._end(kind, key, now)
        else:
            band.pages = max(band.pages, pages) if kind is BandKind.CLAIM else min(band.pages, pages)

    def _end(self, kind: BandKind, key: Key, now: Seconds) -> None:
        band = self._open.pop((kind, key))
        if len(self.bands) < BANDS_KEPT:
            self.bands.append(Band(kind, *key, band.start, now, band.pages))
