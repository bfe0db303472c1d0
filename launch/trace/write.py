"""trace.json: the hosts of a run, each a group of processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from launch.errors import UsageError
from launch.report.folder import RunFolder
from launch.trace.accounts import accounts
from launch.trace.events import Event

TRACE: Final = "trace.json"


def write_trace(run: RunFolder, out: Path | None = None) -> Path:
    """The trace of every host whose journal was read. UsageError where it cannot be written."""
    path = run.path / TRACE if out is None else out
    try:
        path.write_bytes(msgspec.json.encode(trace(run)))
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: no folder {path.parent}: make it, or name another file with --out"
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}: name another file with --out") from error
    return path


def trace(run: RunFolder) -> dict[str, Any]:
    """The document (JSON object format)."""
    events: list[Event] = []
    left_out = 0
    for host in run.hosts:
        if host.story is not None and host.story.trace is not None:
            made = host.story.trace
            left_out += made.left_out
            events += [*accounts(host.story, host.evidence.reports, made.base), *made.events]
    return {
        "traceEvents": in_order(events),
        "displayTimeUnit": "ns",
        "otherData": {
            "run": run.name,
            "time": "emulated",
            "operations left out": left_out,
            "hosts left out": sum(host.story is None for host in run.hosts),
        },
    }


def in_order(events: Iterable[Event]) -> Sequence[Event]:
    """By time, names first; of the same time in the order in which it was told.

    Perfetto takes an arrow's end for lost when it stands before the arrow's start, also at the same time.
    """
    return sorted(events, key=lambda one: (one["ph"] != "M", one["ts"]))
