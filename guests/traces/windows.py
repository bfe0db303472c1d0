"""Cut long instances into windows, one guest each, so that few files can feed many guests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from guests.traces.errors import TraceError
from guests.traces.folder import TraceFile
from guests.traces.sample import MemorySample

DAY = 288
"""Samples of 5 minutes in a day."""

MAX_GAP = 900.0
"""Seconds between two samples above which data is missing; no window straddles such a gap."""


@dataclass(frozen=True, slots=True)
class Window:
    """`length` samples of a file from its sample number `first` on, and the figures that size a guest.

    provisioned: the largest size in the window, pages: the guest's static maximum.
    peak: most pages used at once in the window; above `provisioned` in a few Borg instances.
    """

    trace: TraceFile
    first: int
    length: int
    provisioned: int
    peak: int

    def samples(self) -> Iterator[MemorySample]:
        """Stream the window again; `t` is 0 at its first sample."""
        start: float | None = None
        for sample in islice(self.trace.samples(), self.first, self.first + self.length):
            start = sample.t if start is None else start
            yield MemorySample(sample.t - start, sample.used, sample.peak, sample.provisioned)

    def points(self) -> Iterator[tuple[float, int]]:
        """(second, used pages) for a `Replay`."""
        return ((sample.t, sample.used) for sample in self.samples())


@dataclass(slots=True)
class _Run:
    """Samples without a gap, gathered as the figures of a window to be."""

    first: int
    length: int = 0
    provisioned: int = 0
    peak: int = 0
    latest: float = 0.0

    def add(self, sample: MemorySample) -> None:
        self.length += 1
        self.provisioned = max(self.provisioned, sample.provisioned)
        self.peak = max(self.peak, sample.peak)
        self.latest = sample.t


def windows(trace: TraceFile, length: int = DAY, max_gap: float = MAX_GAP) -> Iterator[Window]:
    """Yield the windows of `length` samples that follow one another in a file; a remainder is dropped."""
    if length < 1:
        raise ValueError(f"window length {length}: must be 1 sample or more")
    run = _Run(first=0)
    for number, sample in enumerate(trace.samples()):
        if run.length and sample.t - run.latest > max_gap:
            run = _Run(first=number)
        run.add(sample)
        if run.length == length:
            yield Window(trace, run.first, run.length, run.provisioned, run.peak)
            run = _Run(first=number + 1)


def choose_windows(
    traces: Sequence[TraceFile], count: int, rng: Random, length: int = DAY, max_gap: float = MAX_GAP
) -> tuple[Window, ...]:
    """Choose `count` different windows, the same ones for the same files and random stream.

    Files are shuffled and give one random window each, then a second one each, and so on: as many distinct
    workloads as there are, and no more files read than needed. TraceError when there are too few windows.
    """
    shuffled = rng.sample(traces, len(traces))
    chosen = tuple(islice(_in_turn(_cut_shuffled(file, rng, length, max_gap) for file in shuffled), count))
    if len(chosen) < count:
        raise TraceError(
            f"{traces[0].path if traces else 'no file'}: {len(traces)} trace files, {len(chosen)} windows of "
            f"{length} samples without a gap above {max_gap:g} s, but {count} are wanted: "
            "bring more files, ask for shorter windows or for fewer guests"
        )
    return chosen


def _cut_shuffled(trace: TraceFile, rng: Random, length: int, max_gap: float) -> Iterator[Window]:
    """A file's windows in random order; the file is read when the first is asked for."""
    cut = list(windows(trace, length, max_gap))
    rng.shuffle(cut)
    yield from cut


def _in_turn(sources: Iterable[Iterator[Window]]) -> Iterator[Window]:
    """One window of each source, then a second of each, until all are exhausted."""
    waiting = deque(sources)
    while waiting:
        source = waiting.popleft()
        window = next(source, None)
        if window is not None:
            yield window
            waiting.append(source)
