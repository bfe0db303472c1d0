"""Figures of launches and of what is left behind that no other document has: `launches.NAME`, `left.NAME`.

launches.no_s               mean seconds from an order to its final no (refusal or late failure)
launches.makespan_s         from the first order to the end of the last build; None when nothing was built
launches.all_failed         1 when not one was built, else 0
launches.of_first_late      late failures of the first toolstack's own launches
launches.large_waits_s      mean seconds that the largest launches waited for an admission that proved good,
                            to the end of the run for one that never had any, less the same of the smallest
left.clamps, left.claims, left.domains   lines of the leftovers, by kind
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from hypervisor.public.orders import Stage
from hypervisor.public.units import Pages, Seconds
from launch.cluster.host_plan import HostPlan, HostResult
from launch.launches import Launch, Verdict, fold

_NO = (Verdict.REFUSED, Verdict.FAILED_LATE)


def launch_figures(plan: HostPlan, result: HostResult) -> Mapping[str, float | None]:
    """Of one run on one host."""
    launches = fold(result.ordered_at, result.outcomes)
    count = plan.scenario.toolstack.count
    late = [one for one in launches if one.verdict is Verdict.FAILED_LATE]
    return {
        "launches.no_s": _mean(one.answered_after for one in launches if one.verdict in _NO),
        "launches.makespan_s": _makespan(result),
        "launches.all_failed": float(not any(one.verdict is Verdict.BUILT for one in launches)),
        "launches.of_first_late": float(sum(one.order % count == 1 % count for one in late)),
        "launches.large_waits_s": _large_waits(plan, result, launches),
        "left.clamps": _lines(result, lambda line: "max_pages" in line),
        "left.claims": _lines(result, lambda line: "claim" in line),
        "left.domains": _lines(result, lambda line: "half-built" in line),
    }


def _mean(values: Iterable[Seconds | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _makespan(result: HostResult) -> Seconds | None:
    ends = [one.time for one in result.outcomes if one.stage == Stage.BUILT]
    return max(ends) - min(result.ordered_at.values()) if ends else None


def _large_waits(plan: HostPlan, result: HostResult, launches: Sequence[Launch]) -> Seconds | None:
    sizes = [arrival.pages for arrival in plan.arrivals]
    if not sizes:
        return None
    large, small = (_wait(plan, result, launches, size) for size in (max(sizes), min(sizes)))
    return None if large is None or small is None else large - small


def _wait(plan: HostPlan, result: HostResult, launches: Sequence[Launch], pages: Pages) -> Seconds | None:
    """Mean of the launches of that size. A refusal is no end of waiting: it waits as long as nobody could."""
    end = plan.scenario.duration
    own = [one for one in launches if plan.arrivals[one.order - 1].pages == pages]
    return _mean(
        one.answered_after
        if one.admitted and one.answered_after is not None and one.verdict is not Verdict.FAILED_LATE
        else end - result.ordered_at[one.order]
        for one in own
    )


def _lines(result: HostResult, wanted: Callable[[str], bool]) -> float:
    return float(sum(wanted(line) for line in result.leftovers))
