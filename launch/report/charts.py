"""What the page's charts are drawn from: plain data, one document a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hypervisor.public.orders import Outcome, Stage
from hypervisor.public.units import Seconds
from launch.cluster.orders import launch_name
from launch.judge.cases import Key
from launch.judge.report import guest_name
from launch.judge.verdict import GuestJudgement
from launch.launches import Verdict
from launch.records import Ordered
from launch.report.curve import Point
from launch.report.folder import HostFolder
from launch.report.story import Band, BandKind, DomainStory, HostStory

BOOT: Final = 0.001
"""Share of a run within which the journal's clock has noticed that everybody is up."""
BANDS: Final = 300
"""Bands of one chart; the longest are kept."""


def host_charts(host: HostFolder, duration: Seconds | None = None) -> dict[str, Any]:
    """Everything that is drawn of one host. Times are emulated seconds, memory is pages.

    `duration`: of the scenario. What comes behind it is the clean-up, which gives all memory back.
    """
    document: dict[str, Any] = {
        "name": host.name,
        "launches": launch_rows(host),
        "guests": guest_rows(host),
    }
    if host.story is not None:
        document |= _memory(host.story)
        document["highest"] = _highest(host.story, duration)
    return document


def _memory(story: HostStory) -> dict[str, Any]:
    bands = [band for band in story.bands if band.end > band.start]
    by_domain: dict[Key, list[Band]] = {}
    for band in bands:
        by_domain.setdefault((band.domid, band.incarnation), []).append(band)
    return {
        "end": _time(story.end),
        "free": _curve(story.free),
        "claims": _curve(story.claims),
        "bands": {kind.value: merged(bands, kind) for kind in BandKind},
        "domains": [_domain(one, by_domain.get((one.domid, one.incarnation), ())) for one in story.domains],
    }


def _highest(story: HostStory, duration: Seconds | None) -> int:
    """Free or claimed pages at any moment between the boot and the clean-up, for the height of the chart."""
    until = story.end if duration is None else min(duration, story.end)
    most = 1
    for points in (story.free, story.claims):
        booted = [value for time, value in points if time <= BOOT * until][-1:]
        most = max([most, *booted, *(value for time, value in points if BOOT * until < time < until)])
    return most


def _domain(one: DomainStory, bands: Iterable[Band]) -> dict[str, Any]:
    return {
        "label": one.label,
        "tot": _curve(one.tot_pages),
        "max": _curve(one.max_pages),
        "outstanding": _curve(one.outstanding),
        "bands": {kind.value: merged(bands, kind) for kind in BandKind},
    }


def _curve(points: Sequence[Point]) -> dict[str, list[float]]:
    return {"t": [_time(time) for time, _ in points], "v": [value for _, value in points]}


def _time(time: Seconds) -> Seconds:
    return round(time, 4)


def merged(bands: Iterable[Band], kind: BandKind) -> list[tuple[Seconds, Seconds]]:
    """Stretches in which at least one band of that kind was open; the longest, in their order."""
    found: list[tuple[Seconds, Seconds]] = []
    for band in sorted((one for one in bands if one.kind is kind), key=lambda one: one.start):
        if found and band.start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], band.end))
        else:
            found.append((band.start, band.end))
    kept = sorted(found, key=lambda one: one[0] - one[1])[:BANDS]
    return sorted((_time(start), _time(end)) for start, end in kept)


# ---- launches and guests


def launch_rows(host: HostFolder) -> list[dict[str, Any]]:
    """One for each order: when it was given, decided and settled, and what came of it."""
    said: dict[int, dict[Stage, Outcome]] = {}
    for outcome in host.evidence.outcomes:
        said.setdefault(outcome.order, {})[outcome.stage] = outcome
    orders: Mapping[int, Ordered] = {one.order: one for one in host.evidence.orders}
    judged = {one.order: one for one in host.judgement.launches} if host.judgement else {}
    rows: list[dict[str, Any]] = []
    for one in host.launches():
        stages = said.get(one.order, {})
        decision = stages.get(Stage.ADMITTED, stages.get(Stage.REFUSED))
        settled = max((outcome.time for outcome in stages.values()), default=None)
        judgement = judged.get(one.order)
        row = {
            "order": one.order,
            "name": launch_name(one.order),
            "pages": orders[one.order].pages,
            "ordered": _time(orders[one.order].time),
            "decided": None if decision is None else _time(decision.time),
            "settled": None if settled is None else _time(_end(stages, settled)),
            "verdict": one.verdict.value,
            "fate": fate(one.verdict, one.pages_discarded),
            "judgement": "" if judgement is None else judgement.judgement.value,
            "discarded": one.pages_discarded,
            "reason": one.reason,
            "domid": next((outcome.domid for outcome in stages.values() if outcome.domid >= 0), None),
        }
        rows.append(row)
    return rows


def _end(stages: Mapping[Stage, Outcome], settled: Seconds) -> Seconds:
    """Of the build; the domain may live on and be destroyed much later."""
    for stage in (Stage.BUILT, Stage.FAILED, Stage.REFUSED):
        if stage in stages:
            return stages[stage].time
    return settled


def fate(verdict: Verdict, discarded: int) -> str:
    """As the timeline calls it."""
    if verdict is Verdict.BUILT:
        return "admitted and built"
    if discarded:
        return f"{verdict.value}, thrown away"
    return "admitted, unsettled" if verdict is Verdict.UNSETTLED else verdict.value


def guest_rows(host: HostFolder) -> list[dict[str, Any]]:
    """One for each guest that reported or was refused anything, by domain."""
    judged = {(one.domid, one.incarnation): one for one in host.judgement.guests} if host.judgement else {}
    reports = {(one.domid, one.incarnation): one for one in host.evidence.reports}
    rows: list[dict[str, Any]] = []
    for key in sorted({*judged, *reports}):
        report, judgement = reports.get(key), judged.get(key)
        known = judgement or GuestJudgement(*key, None, ())
        own_word = 0 if report is None else report.pages_refused
        row: dict[str, Any] = {
            "label": guest_name(known),
            "swapped": report.swapped_out if report else 0,
            "oom_kills": report.oom_kills if report else 0,
            "refused": sum(one.pages for one in known.refused) if judgement else own_word,
            "causes": {one.cause.value: one.pages for one in known.refused},
            "while_free": sum(one.pages_while_free for one in known.refused),
        }
        row["hurt"] = bool(row["swapped"] or row["oom_kills"] or row["refused"])
        row["pain"] = row["swapped"] + row["refused"]
        rows.append(row)
    return rows
