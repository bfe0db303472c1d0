"""GWA-T-12 Bitbrains, one CSV per VM (Shen, van Beek, Iosup, CCGrid 2015), with its documented defects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from guests.traces.sample import PAGE_KIB, MemorySample
from guests.traces.table import read_rows

DELIMITER = ";"
"""Published as ";" and a tab; the tab is stripped."""

COLUMNS = ("Timestamp [ms]", "Memory capacity provisioned [KB]", "Memory usage [KB]")
MARKS = frozenset({*COLUMNS, "CPU capacity provisioned [MHZ]"})
"""Column names that tell this format from another; one is enough."""

_PUBLISHER = "the GWA-T-12 fastStorage or Rnd set"
_SHORTEST_INTERVAL = 270.0
"""Seconds: rows of one VM stand 299 to 310 apart; closer ones are two series."""

_MILLISECONDS_FROM = 1e11
"""The stamps are labelled ms but hold seconds since 1970 (1.4e9); true milliseconds would be above this."""


def _stamp(value: float) -> float:
    return value / 1000 if value > _MILLISECONDS_FROM else value


def _read_all(path: Path) -> Iterator[MemorySample]:
    """Rows with `t` still in seconds since 1970; those with nothing provisioned (a ghost series) left out."""
    for row in read_rows(path, COLUMNS, DELIMITER, _PUBLISHER):
        provisioned = round(row.number(1) / PAGE_KIB)
        used = round(row.number(2) / PAGE_KIB)
        if provisioned:
            yield MemorySample(_stamp(row.number(0)), used, used, provisioned)


def _clusters(samples: Iterator[MemorySample]) -> Iterator[list[MemorySample]]:
    """Gather the rows of one sampling interval: one VM has one row there.

    Rows that step back in time are dropped: the series followed has been past that second already.
    """
    cluster: list[MemorySample] = []
    for sample in samples:
        if cluster and sample.t - cluster[0].t >= _SHORTEST_INTERVAL:
            yield cluster
            cluster = []
        if not cluster or sample.t >= cluster[0].t:
            cluster.append(sample)
    if cluster:
        yield cluster


def _one_series(samples: Iterator[MemorySample]) -> Iterator[MemorySample]:
    """Follow one of two interleaved series: the larger at first, then the one nearest in provisioned size.

    Nearest rather than equal, because the provisioned size of a VM may creep. Where the series followed lacks
    a row, that of the other is not taken for it.
    """
    size: int | None = None
    other: int | None = None
    for cluster in _clusters(samples):
        kept = _nearest(cluster, size)
        if size is not None and other is not None and _distance(kept, other) < _distance(kept, size):
            continue
        size = kept.provisioned
        other = next((sample.provisioned for sample in cluster if sample is not kept), other)
        yield kept


def _distance(sample: MemorySample, size: int) -> int:
    return abs(sample.provisioned - size)


def _nearest(cluster: list[MemorySample], size: int | None) -> MemorySample:
    if size is None:
        return max(cluster, key=lambda sample: sample.provisioned)
    return min(cluster, key=lambda sample: _distance(sample, size))


def read_bitbrains(path: Path) -> Iterator[MemorySample]:
    """Yield one VM's samples, `t` rising; missing hours stay missing (the next `t` is simply later).

    Tolerated: stamps in seconds under a heading of ms, two series interleaved in one file (duplicate stamps
    or
    nothing provisioned: one series is followed), provisioned size creeping. TraceError when a column is
    missing or a value is no number.
    """
    start: float | None = None
    for sample in _one_series(_read_all(path)):
        start = sample.t if start is None else start
        yield MemorySample(sample.t - start, sample.used, sample.peak, sample.provisioned)
