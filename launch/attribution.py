"""The words that the publishers of the traces ask for, and what a reader must know of the data."""

from __future__ import annotations

from collections.abc import Iterator

from guests.traces.errors import TraceError
from guests.traces.folder import find_traces
from launch.scenario.models import Scenario

_BORG = (
    "Google ClusterData2019 (Tirmazi et al., EuroSys 2020), CC-BY 4.0, sampled by Muse Lab. "
    "The sampled instances are of 6 distinct workloads, so guests that replay them are not independent."
)
_BITBRAINS = "OpenDC, AtLarge Research; GWA-T-12 Bitbrains (Shen, van Beek, Iosup, CCGrid 2015)."
_AZURE = "Azure Public Dataset V1 (Cortez et al., SOSP 2017), CC-BY 4.0, processed by Huawei Cloud."


def attributions(scenario: Scenario) -> tuple[str, ...]:
    """One line for each data set that the scenario replays."""
    return tuple(_attributions(scenario))


def _attributions(scenario: Scenario) -> Iterator[str]:
    formats = _formats(scenario)
    if "borg" in formats:
        yield _BORG
    if "bitbrains" in formats:
        yield _BITBRAINS
    if scenario.arrivals.kind == "azure":
        yield _AZURE


def _formats(scenario: Scenario) -> frozenset[str]:
    """The formats found under `guests.trace`; none when it has gone since the run."""
    if scenario.guests.trace is None:
        return frozenset()
    try:
        return frozenset(trace.format for trace in find_traces(scenario.guests.trace))
    except TraceError:
        return frozenset()
