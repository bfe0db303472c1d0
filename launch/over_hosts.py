"""Launches over several hosts: attempts, time to running, wasted work, and what each host had at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from msgspec import Struct

from hypervisor.public.units import Pages, Seconds
from launch.better import Higher, Lower
from launch.launches import Launch, Verdict
from launch.percentile import percentile


@dataclass(frozen=True, slots=True)
class Tried:
    """One order of a launch."""

    host: str
    start: Seconds
    end: Seconds
    """When the toolstack said how it ended; the end of the run if it never did."""
    launch: Launch


@dataclass(frozen=True, slots=True)
class LaunchFate:
    """One launch over all hosts."""

    arrived: Seconds
    tried: tuple[Tried, ...]
    running: Seconds | None
    """When its domain was built; None: it never was."""
    given_up: bool


class HostShare(Struct, frozen=True):
    """What one host had of the launches, totals over the repeats."""

    orders: int
    built: int
    refused: int
    failed_late: int
    pages_discarded: Pages
    most_at_once: int
    """Orders under way there at one moment: the herd."""


class OverHosts(Struct, frozen=True):
    """One scheme's launches, totals over the repeats. Times are emulated seconds from the arrival.

    given_up: no attempt was left, or no host. unsettled: still waiting or building when the run was over.
    """

    launches: int
    running: Higher[int]
    given_up: Lower[int]
    unsettled: int
    attempts_per_launch: Lower[float | None]
    time_to_running_p50_s: Lower[float | None]
    time_to_running_p99_s: Lower[float | None]
    pages_discarded: Pages
    hosts: dict[str, HostShare]


def over_hosts(repeats: Sequence[Sequence[LaunchFate]], hosts: Iterable[str]) -> OverHosts:
    """The figures of one scheme from the launches of each of its repeats."""
    fates = [fate for repeat in repeats for fate in repeat]
    waited = [fate.running - fate.arrived for fate in fates if fate.running is not None]
    given_up = sum(fate.given_up for fate in fates)
    shares = {name: _share(repeats, name) for name in hosts}
    return OverHosts(
        launches=len(fates),
        running=len(waited),
        given_up=given_up,
        unsettled=len(fates) - len(waited) - given_up,
        attempts_per_launch=round(fmean(len(fate.tried) for fate in fates), 6) if fates else None,
        time_to_running_p50_s=percentile(waited, 50),
        time_to_running_p99_s=percentile(waited, 99),
        pages_discarded=sum(share.pages_discarded for share in shares.values()),
        hosts=shares,
    )


def _share(repeats: Sequence[Sequence[LaunchFate]], name: str) -> HostShare:
    each = [[tried for fate in repeat for tried in fate.tried if tried.host == name] for repeat in repeats]
    launches = [tried.launch for repeat in each for tried in repeat]
    verdicts = [launch.verdict for launch in launches]
    return HostShare(
        orders=len(launches),
        built=verdicts.count(Verdict.BUILT),
        refused=verdicts.count(Verdict.REFUSED),
        failed_late=verdicts.count(Verdict.FAILED_LATE),
        pages_discarded=sum(launch.pages_discarded for launch in launches),
        most_at_once=max((_most_at_once(repeat) for repeat in each), default=0),
    )


def _most_at_once(tried: Sequence[Tried]) -> int:
    """An order that ends at the moment at which another begins is out of its way."""
    changes = sorted([(one.start, 1) for one in tried] + [(one.end, -1) for one in tried])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


_TITLES: Mapping[str, str] = {
    "launches": "launches over all hosts",
    "running": "running in the end",
    "given_up": "given up",
    "unsettled": "waiting or building at the end",
    "attempts_per_launch": "attempts per launch",
    "time_to_running_p50_s": "time to running, p50 (emulated s)",
    "time_to_running_p99_s": "time to running, p99 (emulated s)",
}


def over_hosts_rows(schemes: Sequence[OverHosts]) -> Iterator[tuple[str, ...]]:
    """Rows of the summary table: what there is over all hosts, then the orders of each."""
    for name, title in _TITLES.items():
        yield (title, *(_cell(getattr(one, name)) for one in schemes))
    for host in dict.fromkeys(host for one in schemes for host in one.hosts):
        shares = [one.hosts[host] for one in schemes]
        yield (f"orders to {host} (most at once)", *(_orders(share) for share in shares))


def _orders(share: HostShare) -> str:
    return f"{share.orders:,} ({share.most_at_once:,})"


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
