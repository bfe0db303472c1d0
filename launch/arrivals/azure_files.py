"""The files of the Azure V1 launch stream: which belong together, and the two small tables beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guests.traces.errors import TraceError
from guests.traces.sample import PAGES_PER_GIB
from guests.traces.table import open_text
from launch.arrivals.arrival import Size

BIN = 300
"""Seconds of one time bin: the trace has no finer clock."""

_LIFETIMES = re.compile(r"(?P<stem>.+)\.c(?P<end>\d+)\.txt(\.gz)?")
_CURE = (
    "put the Azure V1 files (v1.test.txt, v1.test.c2591400.txt, flav_map.txt, v1.interval_map.txt; "
    "plain or .gz) into one folder"
)


@dataclass(frozen=True, slots=True)
class AzureStream:
    """A launch file and the lifetime file that matches it line by line; the trace ends at second `end`."""

    launches: Path
    lifetimes: Path
    flavours: Path
    intervals: Path
    end: int


def find_streams(path: Path) -> tuple[AzureStream, ...]:
    """The launch streams of a folder (searched recursively) or of one launch file, in time order.

    In a folder, launch files without a lifetime file (v1.train as published) are passed over. TraceError when
    a partner or table is missing, or nothing is there.
    """
    if path.is_file():
        beside = [file for file in _lifetime_files(path.parent.iterdir()) if _stem_of(file) == _plain(path)]
        if not beside:
            raise TraceError(f"{path}: no lifetime file {_plain(path)}.c<end>.txt beside it: {_CURE}")
        return (_stream(beside[0]),)
    if not path.is_dir():
        raise TraceError(f"{path}: no such file or folder: {_CURE}")
    streams = [_stream(file) for file in _lifetime_files(path.rglob("*"))]
    if not streams:
        raise TraceError(f"{path}: no lifetime file *.c<end>.txt here: {_CURE}")
    return tuple(sorted(streams, key=lambda stream: stream.end))


def _lifetime_files(files: Iterator[Path]) -> list[Path]:
    return sorted(file for file in files if _LIFETIMES.fullmatch(file.name) and file.is_file())


def _plain(path: Path) -> str:
    """The name without .txt and .gz."""
    return path.name.removesuffix(".gz").removesuffix(".txt")


def _match(lifetimes: Path) -> re.Match[str]:
    match = _LIFETIMES.fullmatch(lifetimes.name)
    assert match is not None, lifetimes
    return match


def _stem_of(lifetimes: Path) -> str:
    return _match(lifetimes)["stem"]


def _stream(lifetimes: Path) -> AzureStream:
    folder = lifetimes.parent
    return AzureStream(
        launches=_partner(folder, _stem_of(lifetimes), lifetimes),
        lifetimes=lifetimes,
        flavours=_partner(folder, "flav_map", lifetimes),
        intervals=_partner(folder, _stem_of(lifetimes).split(".")[0] + ".interval_map", lifetimes),
        end=int(_match(lifetimes)["end"]),
    )


def _partner(folder: Path, stem: str, lifetimes: Path) -> Path:
    for name in (f"{stem}.txt", f"{stem}.txt.gz"):
        if (folder / name).is_file():
            return folder / name
    raise TraceError(f"{folder / stem}.txt (or .gz) is missing, {lifetimes.name} needs it: {_CURE}")


def read_flavours(path: Path) -> dict[str, Size]:
    """The sizes by their letter. Lines are `vcpus,memory_GiB letter`; memory may be a fraction of a GiB."""
    flavours: dict[str, Size] = {}
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                size, letter = line.split()
                vcpus, memory = size.split(",")
                flavours[letter] = Size(round(float(memory) * PAGES_PER_GIB), int(vcpus))
            except (ValueError, OverflowError) as error:
                raise TraceError(
                    f"{path}:{number}: {line.strip()!r} is not 'vcpus,memory_GiB letter': "
                    "fetch the file again"
                ) from error
    return flavours


def read_intervals(path: Path) -> dict[int, tuple[int, int]]:
    """The lifetimes, in seconds, that a lifetime bin stands for: from .. below.

    Lines are `seconds bin` at the trace's clock of 5 minutes, so the bin whose last line says 7200 reaches to
    7500, where the next bin begins.
    """
    intervals: dict[int, tuple[int, int]] = {}
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                seconds, interval = map(int, line.split())
            except ValueError as error:
                raise TraceError(
                    f"{path}:{number}: {line.strip()!r} is not 'seconds bin': fetch the file again"
                ) from error
            low, high = intervals.get(interval, (seconds, seconds))
            intervals[interval] = (min(low, seconds), max(high, seconds + BIN))
    return intervals
