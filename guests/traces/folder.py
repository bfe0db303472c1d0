"""Find the memory traces a path stands for: one file, or a folder searched recursively."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

from guests.traces import bitbrains, borg
from guests.traces.errors import TraceError
from guests.traces.sample import MACHINE_PAGES, MemorySample
from guests.traces.table import read_header

TraceFormat: TypeAlias = Literal["borg", "bitbrains"]

_SUFFIXES = (".csv", ".csv.gz")
_KNOWN = "a Google Borg 2019 instance_usage CSV or a Bitbrains GWA-T-12 CSV (plain or .gz)"


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A file whose header was recognised; `machine_pages` scales Borg's fractions (unused for Bitbrains)."""

    path: Path
    format: TraceFormat
    machine_pages: int = MACHINE_PAGES

    def samples(self) -> Iterator[MemorySample]:
        """Stream the file from its beginning; TraceError names file, line or column, and the cure."""
        match self.format:
            case "borg":
                return borg.read_borg(self.path, self.machine_pages)
            case "bitbrains":
                return bitbrains.read_bitbrains(self.path)
            case _:
                assert_never(self.format)


def trace_format(path: Path) -> TraceFormat | None:
    """The format a file's header announces, or None. One telling column is enough, so that a file which lacks
    others is later refused by name instead of being passed over."""
    if bitbrains.MARKS.intersection(read_header(path, bitbrains.DELIMITER)):
        return "bitbrains"
    if borg.MARKS.intersection(read_header(path, borg.DELIMITER)):
        return "borg"
    return None


def find_traces(path: Path, machine_pages: int = MACHINE_PAGES) -> tuple[TraceFile, ...]:
    """The traces under `path`, sorted by path.

    In a folder files of other formats are passed over; a file named itself must be a trace. TraceError when
    the path does not exist or holds no trace.
    """
    candidates = _candidates(path)
    found: list[TraceFile] = []
    for candidate in candidates:
        kind = trace_format(candidate)
        if kind is not None:
            found.append(TraceFile(candidate, kind, machine_pages))
    if not found:
        raise TraceError(
            f"{path}: no memory trace here ({len(candidates)} CSV files seen): "
            f"name {_KNOWN}, or a folder of them"
        )
    return tuple(found)


def _candidates(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise TraceError(f"{path}: no such file or folder: name {_KNOWN}, or a folder of them")
    return sorted(
        file for file in path.rglob("*") if file.name.lower().endswith(_SUFFIXES) and file.is_file()
    )
