"""The figures of one virtual run, by name: what a question may ask for.

Those of the judge (docs/judge.md), those of summary.json, and the sum of every number that guests report,
as `guests.NAME`; see launch_figures.py for `launches.NAME` and `left.NAME`. SUMS adds some of them up. Of
several hosts there are `over_hosts.NAME` (launch.over_hosts), and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final

import msgspec

from guests.report import GuestReport
from launch.cluster.cluster_plan import ClusterResult
from launch.cluster.host_plan import HostPlan, HostResult
from launch.cluster.rounds import summary_of
from launch.debate.launch_figures import launch_figures
from launch.errors import UsageError
from launch.judge.figures import Figures as Judged
from launch.judge.figures import figures, flat
from launch.judge.verdict import Cause, HostJudgement
from launch.over_hosts import over_hosts

Figures = Mapping[str, float | None]

OVER_HOSTS: Final = "over_hosts"

JUDGED: Final = frozenset(Judged.__struct_fields__)
SUMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        # Refused although the launch fitted when it was decided, whatever came after.
        "refused_fitting": ("false_refusals", "fitted_at_first"),
        # Answers that were not those of a lock held from the question to the end of the build.
        "wrong_answers": ("false_refusals", "fitted_at_first", "false_grants", "overtaken"),
        # Refaults: pages of files that the guest had evicted and reads again, asked of tmem first.
        "refaults": ("guests.cleancache_hits", "guests.cleancache_misses"),
    }
)

COUNTERS: Final = frozenset(
    [f"{table}.{cause.value}" for table in ("refused_while_free", "swapped", "oom_kills") for cause in Cause]
    + [f"guests.{field.name}" for field in msgspec.structs.fields(GuestReport) if field.type is not str]
)
"""Absent means 0: tables by cause name what there was, and where no guest lived none has reported."""


def needs_judge(*names: str) -> bool:
    """True when one of the figures asked for is the judge's, who replays the whole journal."""
    parts = [part for name in names for part in SUMS.get(name, (name,))]
    return any(part.partition(".")[0] in JUDGED for part in parts)


def run_figures(
    plan: HostPlan, result: HostResult, judgement: HostJudgement | None
) -> dict[str, float | None]:
    """All of them for one run on one host. None: there was nothing to measure."""
    found: dict[str, float | None] = {**_summary(result), **launch_figures(plan, result)}
    if judgement is not None:
        found.update(flat(figures([judgement])))
    found.update({f"guests.{name}": value for name, value in _sums(result.reports).items()})
    found.update({name: _total(found, parts) for name, parts in SUMS.items()})
    return found


def wants_hosts(*names: str) -> bool:
    """True when one of the figures asked for is one over several hosts."""
    return any(name.partition(".")[0] == OVER_HOSTS for name in names)


def over_figures(done: ClusterResult, hosts: Iterable[str]) -> dict[str, float | None]:
    """Those of one run on several hosts."""
    figures = flat(over_hosts([done.launches], hosts))
    return {f"{OVER_HOSTS}.{name}": value for name, value in figures.items()}


def _total(found: Figures, parts: Sequence[str]) -> float | None:
    known = [value for part in parts if (value := found.get(part)) is not None]
    return sum(known) if len(known) == len(parts) else None


def _summary(result: HostResult) -> Mapping[str, float | None]:
    summary, endings = summary_of([result])
    fields = {name: getattr(summary, name) for name in summary.__struct_fields__}
    return {**fields, "built": float(endings.built), "unsettled": float(endings.unsettled)}


def _sums(reports: Sequence[GuestReport]) -> Mapping[str, float]:
    sums: dict[str, float] = {}
    for report in reports:
        for name in report.__struct_fields__:
            value: Any = getattr(report, name)
            if isinstance(value, int | float):
                sums[name] = sums.get(name, 0.0) + value
    return sums


def asked(found: Figures, figure: str, per: str) -> float | None:
    """The figure, divided by another one if `per` names it. None when it cannot be had.

    UsageError for one that there is none of.
    """
    value = _one(found, figure)
    if not per:
        return value
    divisor = _one(found, per)
    return None if value is None or not divisor else value / divisor


def _one(found: Figures, name: str) -> float | None:
    if name in found:
        return found[name]
    if name in COUNTERS:
        return 0.0
    near = get_close_matches(name, [*found, *COUNTERS], 1)
    meant = f"did you mean {near[0]}?" if near else f"name one of {', '.join(sorted(found))}"
    raise UsageError(f"{name}: no such figure: {meant}")
