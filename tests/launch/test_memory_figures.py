"""The summary says through what memory grew, who was refused why, and how the guests paged."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from guests.report import GuestReport, PagingCounts
from hypervisor.core.sources import Reason, Refusal, Source, refused_allocations
from launch.memory_figures import (
    MemoryFigures,
    Refused,
    RefusedAllocations,
    memory_figures,
    tallies_of,
    wrong_contents,
)
from launch.memory_rows import memory_rows

REPORT = {name: 0 for name in GuestReport.__struct_fields__} | {
    "kind": "hvm",
    "behaviour": "ideal",
    "ending": "stopped",
    "swap_times": [],
}


def report(**changes: int) -> GuestReport:
    return msgspec.convert(REPORT | changes, GuestReport)


@dataclass(frozen=True)
class Host:
    growth: dict[str, int]
    refused: tuple[RefusedAllocations, ...]
    reports: tuple[GuestReport, ...] = ()
    crashed: int = 0


def test_what_a_hypervisor_tells_comes_back_as_it_was_counted() -> None:
    """Refusals are folded by domain, source and reason, with times and pages."""
    balloon = Refusal(4, 1, Source.POPULATE, Reason.CLAIM)
    build = Refusal(9, 512, Source.BUILD, Reason.FRAGMENTATION)
    told = {"growth": {Source.BUILD.value: 7}, "refused": refused_allocations({balloon: 3, build: 2})}
    growth, refused = tallies_of(told)
    assert growth == {"build": 7}
    assert refused == (
        RefusedAllocations(4, "balloon populate", "claim", 3, 3),
        RefusedAllocations(9, "build", "fragmentation", 2, 1024),
    )


def test_hosts_and_guests_are_added_up() -> None:
    """Growth and refusals are sums over the repeats; a domain counts once in each."""
    one = Host({"build": 5, "balloon populate": 1}, (RefusedAllocations(4, "build", "claim", 3, 30),))
    two = Host(
        {"build": 2},
        (RefusedAllocations(4, "build", "claim", 1, 10), RefusedAllocations(5, "build", "claim", 1, 10)),
        (report(domid=1, cleancache_hits=3), report(domid=2, cleancache_hits=4, frontswap_stores=9)),
        crashed=2,
    )
    assert memory_figures([one, two]) == MemoryFigures(
        {"build": 7, "balloon populate": 1},
        {"build": {"claim": Refused(5, 50, 3)}},
        PagingCounts(cleancache_hits=7, frontswap_stores=9),
        crashed=2,
    )


def test_rows_name_source_reason_and_who() -> None:
    """A row for each source that grew and for each reason that refused in some scheme, and no empty ones."""
    claim = MemoryFigures(
        {"build": 7000, "tmem ephemeral put": 5},
        {"balloon populate": {"claim": Refused(1200, 1200, 3)}},
        PagingCounts(frontswap_stores=10, frontswap_refused=4),
    )
    assert list(memory_rows([claim, MemoryFigures()])) == [
        ("tot_pages grown: build (pages)", "7,000", "0"),
        ("in tmem, in no tot_pages: tmem ephemeral put (pages)", "5", "0"),
        ("refused, claim: balloon populate", "1,200 (3 domains)", "0"),
        ("frontswap: stores (refused)", "10 (4)", "0 (0)"),
    ]


def test_crashed_guests_are_counted() -> None:
    """Domains that a missing page stopped for good have a row of their own."""
    assert list(memory_rows([MemoryFigures(crashed=3), MemoryFigures()])) == [
        ("guests crashed for lack of a page", "3", "0")
    ]


def test_guests_without_tmem_have_no_rows_of_it() -> None:
    """Plain swap is told by the rows that were always there."""
    assert list(memory_rows([MemoryFigures({}, {}, PagingCounts(disk_swap_out=3))])) == []


def test_a_wrong_page_makes_a_violation() -> None:
    """I7: one line for each guest that got back something else, or nothing."""
    lines = list(wrong_contents([report(domid=1), report(domid=2, stale_pages=1), report(lost_pages=5)]))
    assert len(lines) == 2
    assert "domain 2: 1 gets" in lines[0] and "5 persistent pages were lost" in lines[1]
