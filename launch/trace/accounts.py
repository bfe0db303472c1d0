"""What is no operation: free memory and claims as counters, claims and clamps as slices, guests' troubles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from guests.report import GuestReport
from hypervisor.public.units import Seconds
from launch.judge.cases import Key
from launch.report.curve import Point
from launch.report.story import Band, BandKind, HostStory
from launch.trace.events import Event, Track, counter, process_name, thread_name, whole
from launch.trace.tracer import ACCOUNTS, GUESTS, HYPERVISOR, MICROSECONDS, TOOLSTACKS

COUNTERS: Final = 0
FAULTS: Final = 1 << 20
"""Where the numbers of the guests' fault tracks begin."""


def accounts(story: HostStory, reports: Sequence[GuestReport], base: int) -> Iterator[Event]:
    """Of one host, with the names of its processes."""
    for part, name in (
        (HYPERVISOR, "hypervisor"),
        (ACCOUNTS, "claims and clamps"),
        (TOOLSTACKS, "toolstacks"),
        (GUESTS, "guests"),
    ):
        yield process_name(base + part, f"{story.name} {name}")
    track = Track(base + HYPERVISOR, COUNTERS)
    yield from _counter(track, "free", story.free)
    yield from _counter(track, "claimed", story.claims)
    yield from _bands(story.bands, base + ACCOUNTS)
    yield from _faults(reports, story.end, base + GUESTS)


def _counter(track: Track, name: str, points: Iterable[Point]) -> Iterator[Event]:
    return (counter(track, time * MICROSECONDS, name, value) for time, value in points)


def _bands(bands: Iterable[Band], pid: int) -> Iterator[Event]:
    """A track for each domain's claims, and one for its clamps."""
    tracks: dict[tuple[Key, BandKind], Track] = {}
    for band in sorted(bands, key=lambda one: one.start):
        key = ((band.domid, band.incarnation), band.kind)
        track = tracks.get(key)
        if track is None:
            track = tracks[key] = Track(pid, len(tracks) + 1)
            yield thread_name(track, f"domain {band.domid}: {band.kind}")
        what = "claim" if band.kind is BandKind.CLAIM else "max_pages lowered to"
        length = (band.end - band.start) * MICROSECONDS
        args = {"pages": band.pages, "domid": band.domid}
        yield whole(
            track, band.start * MICROSECONDS, length, f"{what} {band.pages:,} pages", band.kind.value, args
        )


def _faults(reports: Iterable[GuestReport], last: Seconds, pid: int) -> Iterator[Event]:
    """A guest's life with its totals, and in it each interval in which it swapped, as its report tells."""
    for number, report in enumerate(reports):
        if not (report.swapped_out or report.oom_kills or report.pages_refused):
            continue
        track = Track(pid, FAULTS + number)
        yield thread_name(track, f"domain {report.domid}: suffered")
        start, end = report.started_s, min(report.ended_s, last)
        text = f"{report.swapped_out:,} pages swapped, {report.oom_kills} OOM kills"
        args = {
            "swapped_out": report.swapped_out,
            "oom_kills": report.oom_kills,
            "pages_refused": report.pages_refused,
            "stalled_s": report.stalled_s,
        }
        length = max(end - start, 0.0) * MICROSECONDS
        yield whole(track, start * MICROSECONDS, length, text, "fault", args)
        yield from _swapped(report, track, start, end)


def _swapped(report: GuestReport, track: Track, start: Seconds, end: Seconds) -> Iterator[Event]:
    for one in report.swap_times:
        begins, ends = max(one.start_s, start), min(one.start_s + one.seconds, end)
        text = f"swap: {one.out:,} pages out, {one.back:,} in"
        args = {"out": one.out, "in": one.back}
        length = max(ends - begins, 0.0) * MICROSECONDS
        yield whole(track, begins * MICROSECONDS, length, text, "swap", args)
