"""Google Borg 2019 `instance_usage`, one CSV per instance (ClusterData2019; Tirmazi et al., EuroSys 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from guests.traces.errors import TraceError
from guests.traces.sample import MACHINE_PAGES, MemorySample
from guests.traces.table import Row, read_rows

DELIMITER = ","
COLUMNS = (
    "time",
    "avg_memory_usage",
    "max_memory_usage",
    "assigned_memory",
    "memory_limit",
    "collection_id",
    "instance_index",
)
MARKS = frozenset({"avg_memory_usage", "assigned_memory", "collection_id", "instance_index"})
"""Column names that tell this format from another; one is enough."""

_PUBLISHER = "Google's 2019 instance_usage table"
_MICROSECONDS = 1_000_000
_INSTANCE = slice(5, 7)


def _check_instance(row: Row, first: Row) -> None:
    if row.fields[_INSTANCE] != first.fields[_INSTANCE]:
        raise TraceError(
            f"{row.path}:{row.line}: instance {'-'.join(row.fields[_INSTANCE])} after "
            f"{'-'.join(first.fields[_INSTANCE])}: split the file, one instance per file"
        )


def _sample(row: Row, t: float, machine_pages: int) -> MemorySample:
    used, peak, assigned, limit = (round(row.number(index) * machine_pages) for index in (1, 2, 3, 4))
    # An instance without a limit of its own is held to what its machine set aside for it.
    return MemorySample(t, used, peak, limit or assigned)


def read_borg(path: Path, machine_pages: int = MACHINE_PAGES) -> Iterator[MemorySample]:
    """Yield one instance's samples; rows may be shorter than 5 minutes and stamps may repeat, as published.

    The memory columns are fractions of the largest machine, which has `machine_pages` pages. TraceError when
    a column is missing, a value is no number, the rows are out of order or belong to several instances.
    """
    first: Row | None = None
    previous = 0.0
    for row in read_rows(path, COLUMNS, DELIMITER, _PUBLISHER):
        first = first or row
        _check_instance(row, first)
        t = (row.number(0) - first.number(0)) / _MICROSECONDS
        if t < previous:
            raise TraceError(f"{path}:{row.line}: time runs backwards: sort the file by its time column")
        previous = t
        yield _sample(row, t, machine_pages)
