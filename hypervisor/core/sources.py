"""Where memory is asked for, and why it was not to be had: values beside the rules, which never read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hypervisor.public.units import DomId, Pages


class Source(StrEnum):
    """Which operation asks the allocator for memory on a domain's behalf."""

    POPULATE = "balloon populate"
    """A domain populates its own physmap."""
    BUILD = "build"
    """The control domain populates another domain's physmap."""
    INCREASE = "increase reservation"
    EXCHANGE = "exchange"
    """Takes pages outside tot_pages and stands them in for the input (A17): never growth."""
    TMEM_PERSISTENT = "tmem persistent put"
    TMEM_EPHEMERAL = "tmem ephemeral put"
    """Takes anonymous pages, in nobody's tot_pages (T20)."""
    UNSHARE = "unshare copy"
    POD = "populate on demand"
    STRUCTURES = "Xen's structures"
    """What a domain costs beside tot_pages: struct domain, paging pool, tmem client and pools."""


class Reason(StrEnum):
    """What stood against an allocation."""

    CLAIM = "claim"
    """There is memory, but it is claimed by others (C17)."""
    MAX_PAGES = "max_pages"
    """The domain has reached its limit (A12, T22)."""
    EMPTY = "empty heap"
    """Not that much is free, and tmem has nothing to give."""
    FRAGMENTATION = "fragmentation"
    """That much is to be had, but not as one chunk, on that node or below that width (C18, A24, A25)."""
    FROZEN = "frozen"
    """The tmem client is frozen (T10)."""
    MEDIATOR = "mediator"
    """The toolstack that is asked before every growth said no (P5's counterfactual)."""
    DYING = "dying"
    """The domain was killed before the pages became its own (A12)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One allocation refused to one domain. Leaves the core with the step that refused it."""

    domid: DomId
    """The domain that was to have the pages, or on whose behalf Xen wanted them."""
    pages: Pages
    """Of the extent or put that was refused; a populate stops there, whatever else it had asked for."""
    source: Source
    reason: Reason


def refused_allocations(refused: Mapping[Refusal, int]) -> list[dict[str, int | str]]:
    """One entry for each domain, source and reason: times refused, and pages of the refused extents."""
    summed: dict[tuple[DomId, str, str], list[int]] = {}
    for one, times in refused.items():
        entry = summed.setdefault((one.domid, one.source.value, one.reason.value), [0, 0])
        entry[0] += times
        entry[1] += times * one.pages
    return [
        {"domid": domid, "source": source, "reason": reason, "times": times, "pages": pages}
        for (domid, source, reason), (times, pages) in sorted(summed.items())
    ]
