"""Replay of the Azure V1 launch stream with lifetimes (Azure Public Dataset V1; Cortez et al., SOSP 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from guests.traces.errors import TraceError
from launch.arrivals.arrival import Arrival
from launch.arrivals.azure_files import BIN, AzureStream, find_streams
from launch.arrivals.azure_lines import TimeBin, Vm, first_second, read_bins


@dataclass(frozen=True, slots=True)
class Thinning:
    """Which batches of a stream are launched.

    keep: the fraction of batches kept. Whole batches, because thinning VM by VM destroys the bursts that make
        claims race.
    batch_pages: a batch of more pages than this is dropped whole; None keeps every size.
    """

    keep: float = 1.0
    batch_pages: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"fraction of batches kept {self.keep}: must be above 0 and at most 1")

    def keeps(self, batch: tuple[Vm, ...], rng: Random) -> bool:
        """Decide for one batch, with exactly one draw: another size limit changes nothing else."""
        drawn = rng.random() < self.keep
        return drawn and (self.batch_pages is None or sum(vm.size.pages for vm in batch) <= self.batch_pages)


def azure(
    path: Path,
    rng: Random,
    thinning: Thinning,
    start: float | None = None,
    length: float | None = None,
) -> Iterator[Arrival]:
    """Yield the launches of a window of the trace, in time order; `t` counts from the window's start.

    path: the folder of the Azure V1 files, or one launch file with its partners beside it.
    start, length: the window in seconds of the trace (v1.test begins at 2100000); by default from the first
        line to the end.

    The VMs of a batch arrive together, at a uniformly random moment of their 5-minute bin. A lifetime is
    uniform within its lifetime bin; for a VM that outlived the trace, within the part of the bin after the
    trace's end. `Arrival.batch` numbers the batches of the stream, kept or not. The files are read as the
    stream is consumed; TraceError (file, line, cure) when files are missing or do not match, or the window
    lies outside the trace.
    """
    if length is not None and length <= 0:
        raise ValueError(f"arrival window of {length} s: must be above 0")
    streams = find_streams(path)
    first, end = first_second(streams[0]), streams[-1].end
    begin = first if start is None else start
    if not first <= begin < end:
        raise TraceError(f"{path}: no launches at second {begin:g}: start the window in {first}..{end}")
    return _arrivals(streams, rng, thinning, begin, end if length is None else begin + length)


def _arrivals(
    streams: tuple[AzureStream, ...], rng: Random, thinning: Thinning, begin: float, stop: float
) -> Iterator[Arrival]:
    first_batch = 0
    for time_bin in read_bins(streams):
        if time_bin.second >= stop:
            return
        if time_bin.second + BIN > begin:
            for moment, number in _moments(time_bin, thinning, rng):
                launched = _launches(time_bin, number, moment, rng)
                if begin <= moment < stop:
                    yield from (
                        Arrival(moment - begin, vm.size.pages, vm.size.vcpus, lifetime, first_batch + number)
                        for vm, lifetime in launched
                    )
        first_batch += len(time_bin.batches)


def _moments(time_bin: TimeBin, thinning: Thinning, rng: Random) -> list[tuple[float, int]]:
    """(second, index) of the batches kept, spread over their bin, in time order."""
    kept = [number for number, batch in enumerate(time_bin.batches) if thinning.keeps(batch, rng)]
    return sorted((time_bin.second + rng.random() * BIN, number) for number in kept)


def _launches(time_bin: TimeBin, number: int, moment: float, rng: Random) -> list[tuple[Vm, float]]:
    return [(vm, _lifetime(vm, time_bin.end - moment, rng)) for vm in time_bin.batches[number]]


def _lifetime(vm: Vm, left: float, rng: Random) -> float:
    """Draw a lifetime; `left` seconds of the trace were left when the VM started."""
    low = max(vm.low, left) if vm.censored else vm.low
    return rng.uniform(min(low, vm.high), vm.high)
