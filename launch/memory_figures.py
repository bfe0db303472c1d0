"""Where memory went and who was refused it: figures of one scheme, for summary.json and the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, field

from guests.report import GuestReport, PagingCounts
from hypervisor.public.units import DomId, Pages


class RefusedAllocations(Struct, frozen=True):
    """One entry of a hypervisor's `refused`: see `hypervisor.core.sources`."""

    domid: DomId
    source: str
    reason: str
    times: int
    pages: Pages


class Refused(Struct, frozen=True):
    """What one source was refused for one reason: times, pages of those extents, domains."""

    times: int
    pages: Pages
    domains: int


class MemoryFigures(Struct, frozen=True):
    """Totals over the repeats.

    growth: pages added to tot_pages by source; "tmem ephemeral put" adds to what tmem holds, to nobody's
    tot_pages. refused: by source, then by reason. paging: sums over the guests' reports. crashed: domains
    that could not go on without a page that was not to be had (S10, A30).
    """

    growth: dict[str, Pages] = {}
    refused: dict[str, dict[str, Refused]] = {}
    paging: PagingCounts = field(default_factory=PagingCounts)
    crashed: int = 0


NO_MEMORY_FIGURES: Final = MemoryFigures()


class Tallies(Protocol):
    """What one host left: a part of `launch.cluster.host_plan.HostResult`."""

    @property
    def crashed(self) -> int:
        """Domains."""
        ...

    @property
    def growth(self) -> Mapping[str, Pages]:
        """Pages by source."""
        ...

    @property
    def refused(self) -> Sequence[RefusedAllocations]:
        """By domain, source and reason."""
        ...

    @property
    def reports(self) -> Sequence[GuestReport]:
        """Of the guests."""
        ...


def memory_figures(hosts: Iterable[Tallies]) -> MemoryFigures:
    """The sums; a domain counts once for each repeat in which it was refused."""
    growth: dict[str, Pages] = {}
    refused: dict[str, dict[str, Refused]] = {}
    reports: list[GuestReport] = []
    crashed = 0
    for host in hosts:
        crashed += host.crashed
        reports += host.reports
        for source, pages in host.growth.items():
            growth[source] = growth.get(source, 0) + pages
        for one in host.refused:
            reasons = refused.setdefault(one.source, {})
            known = reasons.get(one.reason, Refused(0, 0, 0))
            reasons[one.reason] = Refused(known.times + one.times, known.pages + one.pages, known.domains + 1)
    names = PagingCounts.__struct_fields__
    paging = PagingCounts(**{name: sum(getattr(one, name) for one in reports) for name in names})
    return MemoryFigures(growth, refused, paging, crashed)


def tallies_of(stats: Mapping[str, Any]) -> tuple[dict[str, Pages], tuple[RefusedAllocations, ...]]:
    """(growth, refused) of a hypervisor's stats."""
    return msgspec.convert(
        (stats["growth"], stats["refused"]), tuple[dict[str, Pages], tuple[RefusedAllocations, ...]]
    )


def wrong_contents(reports: Iterable[GuestReport]) -> Iterator[str]:
    """I7, one line for each guest that got back from tmem what it had not put, or not at all."""
    for one in reports:
        if one.stale_pages or one.lost_pages:
            yield (
                f"I7: domain {one.domid}: {one.stale_pages} gets from tmem brought other than was put, "
                f"{one.lost_pages} persistent pages were lost"
            )
