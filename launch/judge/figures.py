"""A scheme's row: what the judge found in all its repeats and hosts, summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, cast

import msgspec
from msgspec import Struct

from hypervisor.public.units import Pages
from launch.better import Higher, Lower
from launch.judge.deficit import kills_charged, swap_charged
from launch.judge.pain import gini
from launch.judge.verdict import Cause, GuestJudgement, HostJudgement, Judgement, LaunchJudgement, Marks
from launch.launches import ADMITTED
from launch.percentile import percentile

BY_SCHEME = (Cause.CLAIM, Cause.CLAMP, Cause.FREEZE, Cause.MEDIATOR)
"""Causes that are an action of the scheme; the others would have stood against the guest anyway."""


class Figures(Struct, frozen=True):
    """One scheme's figures, in the order of the table; totals over hosts unless said otherwise."""

    judged: int  # launches whose decision names a commit
    fitted: int  # of these, fitted at the decision
    false_refusals: Lower[int]
    promised_refusals: int  # of these, the room was promised to a build under way (`Fit.promised`)
    fitted_at_first: Lower[int]  # refused: fitted at the decision, not throughout
    falsely_refused_pages: Lower[Pages]  # asked for by false refusals, without those promised away
    false_grants: Lower[int]
    overtaken: Lower[int]
    late_failures: Lower[int]
    wasted_page_seconds: Lower[float]
    window_p50_s: Lower[float | None]  # emulated, from first sample to last check
    window_p99_s: Lower[float | None]
    moved_in_windows: Lower[Pages]  # by domains themselves, up and down
    refused_while_free: Lower[dict[str, Pages]]  # by cause
    refused_without: Lower[Pages]  # refused to guests while nothing was free
    swapped: Lower[dict[str, float]]  # pages, by the cause charged
    oom_kills: Lower[dict[str, float]]
    gini_refused: Lower[float | None]  # over guests, mean over hosts where anybody was refused anything
    gini_swapped: Lower[float | None]
    admitted: Higher[int]  # launches, judged or not, as in summary.json
    domains: Higher[float]  # most at once, mean over hosts
    sum_of_maxes: float | None  # share of the host's capacity, highest, mean over hosts that have any
    max_of_sums: float | None

    @property
    def pain_by_scheme(self) -> Pages:
        """Pages refused to guests by the scheme's own action while the host had them free."""
        return sum(self.refused_while_free.get(cause.value, 0) for cause in BY_SCHEME)


def figures(hosts: Sequence[HostJudgement]) -> Figures:
    """Of one scheme. At least one host."""
    launches = [launch for host in hosts for launch in host.launches]
    guests = [guest for host in hosts for guest in host.guests]
    false_refusals = [launch for launch in launches if launch.judgement is Judgement.FALSE_REFUSAL]
    fits = [launch.fit for launch in launches if launch.fit is not None]
    windows = [launch.window for launch in launches if launch.window is not None]
    seconds = [window.seconds for window in windows if window.seconds is not None]
    return Figures(
        judged=len(fits),
        fitted=sum(fit.at_decision for fit in fits),
        false_refusals=len(false_refusals),
        promised_refusals=sum(_is_promised(launch) for launch in false_refusals),
        fitted_at_first=_count(launches, Judgement.FITTED_AT_FIRST),
        falsely_refused_pages=sum(one.pages for one in false_refusals if not _is_promised(one)),
        false_grants=_count(launches, Judgement.FALSE_GRANT),
        overtaken=_count(launches, Judgement.OVERTAKEN),
        late_failures=sum(launch.failure is not None for launch in launches),
        wasted_page_seconds=round(sum(one.failure.page_seconds for one in launches if one.failure), 3),
        window_p50_s=percentile(seconds, 50),
        window_p99_s=percentile(seconds, 99),
        moved_in_windows=sum(window.guests_up + window.guests_down for window in windows),
        refused_while_free=_refused_while_free(guests),
        refused_without=sum(one.pages - one.pages_while_free for guest in guests for one in guest.refused),
        swapped=_charged(guests, swap_charged),
        oom_kills=_charged(guests, kills_charged),
        gini_refused=_concentration(hosts, lambda guest: sum(one.pages for one in guest.refused)),
        gini_swapped=_concentration(hosts, lambda guest: guest.swapped),
        admitted=sum(launch.outcome in ADMITTED for launch in launches),
        domains=fmean(host.marks.domains for host in hosts),
        sum_of_maxes=_share(hosts, lambda marks: marks.sum_of_maxes),
        max_of_sums=_share(hosts, lambda marks: marks.max_of_sums),
    )


def _is_promised(launch: LaunchJudgement) -> bool:
    return launch.fit is not None and launch.fit.promised is not None


def _count(launches: Iterable[LaunchJudgement], judgement: Judgement) -> int:
    return sum(launch.judgement is judgement for launch in launches)


def _refused_while_free(guests: Iterable[GuestJudgement]) -> dict[str, Pages]:
    pages: dict[str, Pages] = {}
    for guest in guests:
        for one in guest.refused:
            if one.pages_while_free:
                pages[one.cause.value] = pages.get(one.cause.value, 0) + one.pages_while_free
    return dict(sorted(pages.items()))


def _charged(
    guests: Iterable[GuestJudgement], charged: Callable[[GuestJudgement], Mapping[Cause, float]]
) -> dict[str, float]:
    shares: dict[str, float] = {}
    for guest in guests:
        for cause, share in charged(guest).items():
            shares[cause.value] = shares.get(cause.value, 0.0) + share
    return {cause: round(share, 3) for cause, share in sorted(shares.items())}


def _concentration(hosts: Iterable[HostJudgement], pain: Callable[[GuestJudgement], int]) -> float | None:
    """Guests of different hosts are not compared: each host has its own Gini coefficient."""
    found = [gini(pain(guest) for guest in host.guests) for host in hosts]
    known = [value for value in found if value is not None]
    return round(fmean(known), 6) if known else None


def _share(hosts: Iterable[HostJudgement], pages: Callable[[Marks], Pages]) -> float | None:
    """None when dom0 and Xen have all of every host."""
    found = [pages(host.marks) / host.marks.capacity for host in hosts if host.marks.capacity]
    return round(fmean(found), 6) if found else None


def flat(row: Struct) -> dict[str, float | None]:
    """Every figure of a row as one number, which is what comparisons work on.

    A table of amounts by cause becomes its sum, `name`, and each part, `name.cause`.
    """
    return dict(_flat(msgspec.to_builtins(row), ""))


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float | None]]:
    for key, value in table.items():
        if isinstance(value, dict):
            parts = dict(_flat(cast(dict[str, Any], value), f"{prefix}{key}."))
            yield f"{prefix}{key}", sum(one for one in parts.values() if one is not None)
            yield from parts.items()
        elif value is None or isinstance(value, int | float):
            yield f"{prefix}{key}", None if value is None else float(value)
