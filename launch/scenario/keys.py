"""Which keys each table of a scenario has: for suggestions, not for validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launch.scenario.disturbances import FaultTable, HoldTable, LinksTable
from launch.scenario.models import (
    ArrivalsTable,
    GuestsTable,
    HostsTable,
    HostTable,
    Scenario,
    ToolstackTable,
)
from launch.scenario.placement import PlacementTable
from launch.scenario.plain import is_table, value_at
from launch.scenario.table import Table
from launch.scenario.workloads import demand_table

HOSTS = "hosts"


def _sections() -> Mapping[str, type[Table]]:
    return {
        "host": HostTable,
        "guests": GuestsTable,
        "placement": PlacementTable,
        "arrivals": ArrivalsTable,
        "toolstack": ToolstackTable,
        "links": LinksTable,
    }


def _arrays() -> Mapping[str, type[Table]]:
    return {HOSTS: HostsTable, "holds": HoldTable, "faults": FaultTable}


def keys_of(document: Mapping[str, Any], path: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that the table at `path` may have; empty where anything goes."""
    table = _table_at(document, path)
    return () if table is None else tuple(table.model_fields)


def _table_at(document: Mapping[str, Any], path: Sequence[str | int]) -> type[Table] | None:
    if not path:
        return Scenario
    if len(path) == 2 and path[0] in _arrays():
        return _arrays()[str(path[0])]
    if len(path) == 1:
        return _sections().get(str(path[0]))
    if len(path) == 3 and (path[0], path[2]) == (HOSTS, "guests"):
        return GuestsTable
    entry = value_at(document, path)
    if path[-2] == "workload" and is_table(entry):
        return demand_table(str(entry.get("kind")))
    return None


def everywhere() -> Iterator[str]:
    """Every dotted key of the scenario and its sections."""
    yield from Scenario.model_fields
    for section, table in _sections().items():
        yield from (f"{section}.{key}" for key in table.model_fields)
