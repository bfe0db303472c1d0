"""[[hosts]] of a single host: it is laid over the defaults [host] and [guests], as if they were its own.

Of several hosts each keeps its table: `launch.scenario.scenes` lays it over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch.scenario.complaints import Fault
from launch.scenario.keys import HOSTS
from launch.scenario.plain import Document, is_array, is_table


def lay_over(document: Mapping[str, Any]) -> tuple[Document, list[Fault]]:
    """The document, with its [[hosts]] table merged into [host] and [guests] if it is the only one."""
    merged = dict(document)
    hosts = merged.get(HOSTS, [])
    if not is_array(hosts) or not all(is_table(host) for host in hosts):
        return merged, [Fault((HOSTS,), "must be an array of tables: write [[hosts]] above each")]
    if len(hosts) != 1 or hosts[0].get("count", 1) != 1:
        return merged, []
    del merged[HOSTS]
    own = dict(hosts[0])
    own.pop("count", None)
    guests = own.pop("guests", {})
    merged["host"] = _over(merged.get("host", {}), own)
    merged["guests"] = _over(merged.get("guests", {}), guests)
    return merged, []


def _over(default: Any, own: Any) -> Any:
    """Key by key; what is no table is left for the validation to complain about."""
    if not is_table(default) or not is_table(own):
        return own or default
    return {**default, **own}
