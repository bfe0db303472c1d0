"""What must be there before anything is started: traces, schemes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from guests.behaviours import make_behaviour
from guests.errors import GuestConfigError
from guests.traces.errors import TraceError
from guests.traces.folder import find_traces
from launch.arrivals.azure_files import find_streams, read_flavours, read_intervals
from launch.arrivals.azure_lines import first_second, read_bins
from launch.scenario.at_once import schemes_at_once
from launch.scenario.complaints import Fault
from launch.scenario.load import Loaded
from launch.scenario.models import ArrivalsTable, GuestsTable, Scenario
from launch.scenario.scenes import scenes
from launch.scenario.suggestions import did_you_mean

Objection: TypeAlias = Callable[[str, str], str | None]
"""(scheme, release) -> why the release cannot carry the scheme, None when it can."""

_ROWS_LOOKED_AT: Final = 2


def check_traces(loaded: Loaded) -> None:
    """ScenarioError naming `guests.trace` or `arrivals.trace` when files, columns or a window are missing."""
    for one in scenes(loaded.scenario):
        _about(loaded, ("guests", "trace"), partial(_guests_trace, one.guests))
    _about(loaded, ("arrivals", "trace"), lambda: _arrivals_trace(loaded.scenario.arrivals))


def _about(loaded: Loaded, key: tuple[str, ...], check: Callable[[], None]) -> None:
    try:
        check()
    except TraceError as error:
        raise loaded.error(Fault(key, str(error))) from error


def _guests_trace(guests: GuestsTable) -> None:
    """Every file's columns and first rows; the rest is read as it is replayed."""
    if guests.trace is None:
        return
    for trace in find_traces(guests.trace, guests.machine):
        for _ in islice(trace.samples(), _ROWS_LOOKED_AT):
            pass


def _arrivals_trace(arrivals: ArrivalsTable) -> None:
    if arrivals.trace is None or arrivals.kind != "azure":
        return
    streams = find_streams(arrivals.trace)
    for stream in streams:
        read_flavours(stream.flavours)
        read_intervals(stream.intervals)
    next(read_bins(streams))
    _window(arrivals.trace, arrivals.start, first_second(streams[0]), streams[-1].end)


def _window(path: Path, start: float | None, first: int, end: int) -> None:
    if start is not None and not first <= start < end:
        raise TraceError(f"{path}: no launches at second {start:g}: set arrivals.start in {first}..{end}")


def check_behaviour(loaded: Loaded) -> None:
    """ScenarioError for a behaviour that nobody knows, or for options that it does not take."""
    for one in scenes(loaded.scenario):
        try:
            make_behaviour(one.guests.behaviour, one.guests.behaviour_options)
        except GuestConfigError as error:
            raise loaded.error(Fault(("guests", "behaviour"), str(error))) from error


def check_schemes(loaded: Loaded, known: Collection[str], objection: Objection) -> None:
    """ScenarioError for a scheme nobody offers, or that the release cannot carry.

    known: the names offered; `module:Class` is the affair of whoever loads it.
    """
    found = list(_scheme_faults(loaded.scenario, known, objection))
    if found:
        raise loaded.error(*found)


def _scheme_faults(scenario: Scenario, known: Collection[str], objection: Objection) -> Iterator[Fault]:
    named = [name for entry in scenario.schemes for name in schemes_at_once(entry)]
    for name in dict.fromkeys(named):
        if name not in known and ":" not in name:
            yield Fault(("schemes",), _no_such_scheme(name, known))
            continue
        reason = objection(name, scenario.release)
        if reason is not None:
            yield Fault(("schemes",), f'release {scenario.release} cannot carry "{name}": {reason}')
    for name in scenario.scheme:
        if name not in known and name not in named:
            yield Fault(("scheme", name), _no_such_scheme(name, known))


def _no_such_scheme(name: str, known: Collection[str]) -> str:
    offered = ", ".join(sorted(known))
    return f'no scheme "{name}"{did_you_mean(name, known)}: name one of {offered}, or module:Class'
