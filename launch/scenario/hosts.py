"""[[hosts]]: each table stands for one host and is laid over the defaults [host] and [guests]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch.scenario.complaints import Fault
from launch.scenario.keys import HOSTS
from launch.scenario.plain import Document, is_array, is_table


def lay_over(document: Mapping[str, Any]) -> tuple[Document, list[Fault]]:
    """The document with its one [[hosts]] table merged into [host] and [guests], and the faults found."""
    merged = dict(document)
    hosts = merged.pop(HOSTS, None)
    if hosts is None:
        return merged, []
    if not is_array(hosts) or not all(is_table(host) for host in hosts):
        return merged, [Fault((HOSTS,), "must be an array of tables: write [[hosts]] above each")]
    if len(hosts) != 1:
        text = f"{len(hosts)} hosts, but a run has exactly one so far: keep one [[hosts]] table"
        return merged, [Fault((HOSTS,), text)]
    own = dict(hosts[0])
    guests = own.pop("guests", {})
    merged["host"] = _over(merged.get("host", {}), own)
    merged["guests"] = _over(merged.get("guests", {}), guests)
    return merged, []


def _over(default: Any, own: Any) -> Any:
    """Key by key; what is no table is left for the validation to complain about."""
    if not is_table(default) or not is_table(own):
        return own or default
    return {**default, **own}
