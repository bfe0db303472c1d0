"""The Azure V1 stream line by line: launches paired with their lifetimes, every mismatch an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from guests.traces.errors import TraceError
from guests.traces.table import open_text
from launch.arrivals.arrival import Size
from launch.arrivals.azure_files import AzureStream, read_flavours, read_intervals


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM of the trace. Its lifetime lies in low .. high seconds; `censored`: it outlived the trace."""

    size: Size
    low: int
    high: int
    censored: bool


@dataclass(frozen=True, slots=True)
class TimeBin:
    """The batches started in the 5 minutes from `second` on, of a trace that ends at second `end`."""

    second: int
    end: int
    batches: tuple[tuple[Vm, ...], ...]


def first_second(stream: AzureStream) -> int:
    """The second of a stream's first line; TraceError when it has none."""
    with open_text(stream.launches) as lines:
        return _split(stream.launches, 1, next(lines, ""))[0]


def read_bins(streams: tuple[AzureStream, ...]) -> Iterator[TimeBin]:
    """Yield the time bins of streams that follow one another.

    TraceError (file, line, cure) when the two files of a stream differ in lines, seconds, batches or VMs,
    when time does not rise, or for a flavour or lifetime the tables do not know.
    """
    latest = -1
    for stream in streams:
        codes = _Codes(stream, read_flavours(stream.flavours), read_intervals(stream.intervals))
        with open_text(stream.launches) as launches, open_text(stream.lifetimes) as lifetimes:
            for number, (launch, lifetime) in enumerate(zip_longest(launches, lifetimes), 1):
                time_bin = _time_bin(codes, number, launch, lifetime)
                if time_bin.second <= latest:
                    raise TraceError(
                        f"{stream.launches}:{number}: second {time_bin.second} does not follow {latest}: "
                        "keep one copy of each stream, its lines in time order"
                    )
                latest = time_bin.second
                yield time_bin


@dataclass(frozen=True, slots=True)
class _Codes:
    """What the letters and bins of a stream mean."""

    stream: AzureStream
    flavours: dict[str, Size]
    intervals: dict[int, tuple[int, int]]

    def size(self, letter: str, number: int) -> Size:
        size = self.flavours.get(letter)
        if size is None:
            raise TraceError(
                f"{self.stream.launches}:{number}: unknown flavour {letter!r}: "
                f"use the {self.stream.flavours.name} that came with the file"
            )
        return size

    def lifetime(self, code: str, number: int) -> tuple[int, int]:
        interval = self.intervals.get(int(code[1:])) if code[1:].isdecimal() and code[0] in "UC" else None
        if interval is None:
            raise TraceError(
                f"{self.stream.lifetimes}:{number}: unknown lifetime {code!r}: "
                f"use the {self.stream.intervals.name} that came with the file"
            )
        return interval


def _time_bin(codes: _Codes, number: int, launch: str | None, lifetime: str | None) -> TimeBin:
    stream = codes.stream
    if launch is None or lifetime is None:
        short = stream.launches if launch is None else stream.lifetimes
        raise _misaligned(stream, number, f"{short.name} ends before its partner")
    second, launched = _split(stream.launches, number, launch)
    lifetime_second, lived = _split(stream.lifetimes, number, lifetime)
    if second != lifetime_second:
        raise _misaligned(stream, number, f"second {second} is paired with {lifetime_second}")
    if [len(batch) for batch in launched] != [len(batch) for batch in lived]:
        raise _misaligned(stream, number, "the files differ in batches or in VMs per batch")
    batches = tuple(
        tuple(_vm(codes, number, letter, code) for letter, code in zip(letters, lifetimes, strict=True))
        for letters, lifetimes in zip(launched, lived, strict=True)
    )
    return TimeBin(second, stream.end, batches)


def _misaligned(stream: AzureStream, number: int, complaint: str) -> TraceError:
    return TraceError(
        f"{stream.launches}:{number}: {complaint} ({stream.lifetimes.name}): "
        "fetch both files of one release again"
    )


def _vm(codes: _Codes, number: int, letter: str, code: str) -> Vm:
    low, high = codes.lifetime(code, number)
    return Vm(codes.size(letter, number), low, high, censored=code[0] == "C")


def _split(path: Path, number: int, line: str) -> tuple[int, list[list[str]]]:
    """`SECONDS f,f,|,f,|` as its second and its batches."""
    second, _, text = line.strip().partition(" ")
    if not second.isdecimal():
        raise TraceError(f"{path}:{number}: {line[:20]!r} does not begin with a second: fetch the file again")
    batches = (batch.strip(",") for batch in text.split("|"))
    return int(second), [batch.split(",") for batch in batches if batch]
