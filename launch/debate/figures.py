"""The figures of one virtual run, by name: what a question may ask for.

Those of the judge (docs/judge.md), those of summary.json, and the sum of every number that guests report,
as `guests.NAME`; see launch_figures.py for `launches.NAME` and `left.NAME`. SUMS adds some of them up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from guests.report import GuestReport
from launch.cluster.host_plan import HostPlan, HostResult
from launch.cluster.rounds import summary_of
from launch.debate.launch_figures import launch_figures
from launch.judge.figures import Figures as Judged
from launch.judge.figures import figures, flat
from launch.judge.verdict import HostJudgement

Figures = Mapping[str, float | None]


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
    """The figure, divided by another one if `per` names it. None when it cannot be had."""
    value = found.get(figure, 0.0 if "." in figure else None)
    if value is None or not per:
        return value
    divisor = found.get(per)
    return None if not divisor else value / divisor
