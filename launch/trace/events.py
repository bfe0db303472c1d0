"""Events of the trace-event format (Google, "Trace Event Format"), as plain objects for the file.

Times (`ts`, `dur`) are microseconds; here emulated ones. A track is a thread (`tid`) of a process (`pid`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Event = dict[str, Any]
"""One of them."""


class Track(NamedTuple):
    """Where slices are drawn."""

    pid: int
    tid: int


def begin(track: Track, time: float, name: str, category: str, args: Mapping[str, Any]) -> Event:
    """A slice begins; `end` on the same track ends the one that began last."""
    return {"ph": "B", **_at(track, time), "name": name, "cat": category, "args": dict(args)}


def end(track: Track, time: float, args: Mapping[str, Any]) -> Event:
    """See `begin`; its args are added."""
    return {"ph": "E", **_at(track, time), "args": dict(args)}


def whole(
    track: Track, time: float, duration: float, name: str, category: str, args: Mapping[str, Any]
) -> Event:
    """A slice of which both ends are known."""
    place = _at(track, time)
    return {"ph": "X", **place, "dur": _round(duration), "name": name, "cat": category, "args": dict(args)}


def flow_start(track: Track, time: float, name: str, number: int) -> Event:
    """An arrow leaves the slice that is open there."""
    return {"ph": "s", **_at(track, time), "name": name, "cat": "flow", "id": number}


def flow_finish(track: Track, time: float, name: str, number: int) -> Event:
    """It arrives at the slice that is open there (bp e: the enclosing one, not the next)."""
    return {"ph": "f", "bp": "e", **_at(track, time), "name": name, "cat": "flow", "id": number}


def counter(track: Track, time: float, name: str, value: int) -> Event:
    """A number from then on."""
    return {"ph": "C", **_at(track, time), "name": name, "args": {"pages": value}}


def process_name(pid: int, name: str) -> Event:
    """How the viewer calls a group of tracks; they are shown in the order of their pids."""
    return {"ph": "M", "ts": 0, "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}


def thread_name(track: Track, name: str) -> Event:
    """How the viewer calls a track."""
    return {"ph": "M", "ts": 0, **track._asdict(), "name": "thread_name", "args": {"name": name}}


def _at(track: Track, time: float) -> Event:
    return {"ts": _round(time), "pid": track.pid, "tid": track.tid}


def _round(time: float) -> float:
    """To a nanosecond, which is what viewers keep."""
    return round(time, 3)
