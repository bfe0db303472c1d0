"""Trace readers over the published Borg and Bitbrains data."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from guests.replay import Replay
from guests.traces.folder import TraceFile, find_traces
from guests.traces.windows import choose_windows, windows

GIB = 262_144


@pytest.fixture
def borg(shared: Path) -> Path:
    return shared / "traces" / "google-borg2019-instances"


@pytest.fixture
def bitbrains(shared: Path) -> TraceFile:
    (trace,) = find_traces(shared / "traces" / "opendc-bitbrains")
    return trace


def test_every_borg_row_is_read(borg: Path) -> None:
    """44 instances, 78,135 rows, limits of 0.67 to 6.52 GiB at 256 GiB a machine."""
    samples = [sample for trace in find_traces(borg) for sample in trace.samples()]
    assert len(find_traces(borg)) == 44
    assert len(samples) == 78_135
    limits = [sample.provisioned / GIB for sample in samples]
    assert (round(min(limits), 2), round(max(limits), 2)) == (0.67, 6.52)


def test_borg_limits_move_in_13_instances(borg: Path) -> None:
    """memory_limit itself moves in 13 of the 44 instances: a real balloon target."""
    moving = [trace for trace in find_traces(borg) if len({s.provisioned for s in trace.samples()}) > 1]
    assert len(moving) == 13


def test_40_guests_come_from_39_files(borg: Path) -> None:
    """40 windows of a day are found in the 39 files of input-sim, each file used, repeatably."""
    traces = find_traces(borg / "input-sim")
    chosen = choose_windows(traces, 40, Random(1))
    assert len(traces) == len({window.trace.path for window in chosen}) == 39
    assert len({(window.trace.path, window.first) for window in chosen}) == 40
    assert chosen == choose_windows(traces, 40, Random(1))


def test_a_borg_window_replays_its_samples(borg: Path) -> None:
    """Replayed at its own stamps, a window of 288 samples gives back the recorded pages."""
    window = next(windows(find_traces(borg)[-1]))
    samples = list(window.samples())
    replay = Replay(window.points)
    assert len(samples) == 288
    assert [replay.demand(sample.t) for sample in samples] == [sample.used for sample in samples]


def test_the_bitbrains_vm_is_read(bitbrains: TraceFile) -> None:
    """8,619 rows over 30 days, 2 GiB provisioned throughout."""
    samples = list(bitbrains.samples())
    assert len(samples) == 8_619
    assert {sample.provisioned for sample in samples} == {2 * GIB}
    assert 29.9 < samples[-1].t / 86_400 < 30.1
