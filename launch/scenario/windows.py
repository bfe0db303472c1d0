"""Which window of the recordings each replaying guest gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from random import Random

from guests.traces.folder import TraceFile, find_traces
from guests.traces.sample import MemorySample
from guests.traces.windows import Window, choose_windows
from launch.scenario.models import GuestsTable


@dataclass(frozen=True, slots=True)
class _Later(TraceFile):
    """A file from its sample number `passed_over` on."""

    passed_over: int = 0

    def samples(self) -> Iterator[MemorySample]:
        """Stream the rest of the file."""
        # The decorator's slots make a new class, which a bare super() would not know.
        return islice(TraceFile.samples(self), self.passed_over, None)


def guest_windows(guests: GuestsTable, count: int, rng: Random) -> tuple[Window, ...]:
    """`count` different windows of `trace_length` samples, none before sample `trace_start` of its file.

    The same ones for the same files and random stream. TraceError when there are too few, or no traces.
    """
    if not count or guests.trace is None:
        return ()
    traces = [
        _Later(trace.path, trace.format, trace.machine_pages, guests.trace_start)
        for trace in find_traces(guests.trace, guests.machine)
    ]
    chosen = choose_windows(traces, count, rng, guests.trace_length)
    return tuple(_in_whole_file(window, guests.trace_start) for window in chosen)


def _in_whole_file(window: Window, passed_over: int) -> Window:
    trace = TraceFile(window.trace.path, window.trace.format, window.trace.machine_pages)
    return replace(window, trace=trace, first=window.first + passed_over)
