"""Lines of the live view, in textual's markup."""

from __future__ import annotations

from typing import Final

from hypervisor.public.observation import DomainSnapshot, Snapshot
from launch.live.lines import percent
from launch.live.trend import Trend, shares
from launch.live.watching import Sight
from launch.scenario.sizes import format_size

USED: Final = "█"
CLAIMED: Final = "▒"
FREE: Final = "░"
"""Three shades, so that the bar reads without colours as well."""
BUILD_WIDTH: Final = 20


def title(sight: Sight, shown: Snapshot | None, paused: bool) -> str:
    """Which run on which host, how far by what is shown of it, and whether it stands still."""
    access = sight.access
    where = f"[b]{access.host}[/b]  {access.scheme}, repeat {access.repeat}"
    if shown is None or shown.seconds < 0:
        return f"{where}  coming up"
    state = "" if sight.snapshot is not None else "  (no answer)"
    state = "  [reverse] PAUSED [/reverse]" if paused else state
    return f"{where}  {shown.seconds:.1f} of {access.duration:g} s emulated{state}"


def memory_bar(snapshot: Snapshot, width: int) -> str:
    """Used, claimed and free memory as one bar of `width` cells."""
    parts = shares(snapshot)
    legend = (
        f"{USED} used {percent(parts.used, snapshot)}  {CLAIMED} claimed {percent(parts.claimed, snapshot)}  "
        f"{FREE} free {percent(parts.free, snapshot)} of {format_size(snapshot.total_pages)}"
    )
    used = round(width * parts.used / snapshot.total_pages)
    claimed = min(width - used, round(width * parts.claimed / snapshot.total_pages))
    free = width - used - claimed
    bar = f"[green]{USED * used}[/green][yellow]{CLAIMED * claimed}[/yellow][blue]{FREE * free}[/blue]"
    return f"{bar}\n{legend}"


def pace_line(trend: Trend) -> str:
    """Rates in real seconds, and through what tot_pages grows."""
    growth = ", ".join(f"{source} {rate:,.0f}" for source, rate in trend.growth_per_second().items())
    line = (
        f"{trend.requests_per_second:,.0f} requests/s, {trend.steps_per_second:,.0f} steps/s, "
        f"{len(trend.now.underway)} under way"
    )
    return f"{line}; growth in pages/s: {growth}" if growth else line


def build_line(host: str, domain: DomainSnapshot) -> str:
    """How far a build is: what it has, what its claim still holds for it, and its limit."""
    done = domain.tot_pages / max(1, domain.max_pages)
    cells = min(BUILD_WIDTH, round(BUILD_WIDTH * done))
    claim = f", {domain.outstanding_pages:,} claimed" if domain.outstanding_pages else ""
    pages = f"{domain.tot_pages:,} of at most {domain.max_pages:,} pages{claim}"
    return f"{host}/{domain.domid} {USED * cells}{FREE * (BUILD_WIDTH - cells)} {pages}"


def refusal_line(host: str, reason: str, source: str, times: int) -> str:
    """How often a source was refused memory for a reason."""
    return f"{times:>9,} {reason}: {source} ({host})"
