"""Trace readers over small files with every documented defect."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from guests.replay import Replay
from guests.traces.bitbrains import read_bitbrains
from guests.traces.borg import COLUMNS as BORG_COLUMNS
from guests.traces.borg import read_borg
from guests.traces.errors import TraceError
from guests.traces.folder import TraceFile, find_traces
from guests.traces.windows import choose_windows, windows

BITBRAINS_HEADER = (
    "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\t"
    "Memory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\t"
    "Disk write throughput [KB/s];\tNetwork received throughput [KB/s];\t"
    "Network transmitted throughput [KB/s]"
)
EPOCH = 1376314846


def write(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def bitbrains_file(path: Path, rows: Iterable[tuple[float, int, float]]) -> Path:
    """Rows are (seconds from EPOCH, provisioned KB, used KB)."""
    body = (
        f"{EPOCH + t};\t1;\t2599.9;\t19.0;\t0.7;\t{provisioned}.0;\t{used};\t0.0;\t1.4;\t0.0;\t0.0"
        for t, provisioned, used in rows
    )
    return write(path, [BITBRAINS_HEADER, *body])


def borg_file(path: Path, rows: Iterable[tuple[float, float, float]], header: str = "") -> Path:
    """Rows are (seconds, used, limit), the last two fractions of the largest machine."""
    body = (f"x,{round(t * 1e6)},{used},{used * 2},{limit * 3},{limit},7,1" for t, used, limit in rows)
    return write(path, [header or ",".join(("extra", *BORG_COLUMNS)), *body])


def stamps(path: Path) -> list[float]:
    return [sample.t for sample in read_bitbrains(path)]


@pytest.mark.parametrize("name", ["vm.csv", "vm.csv.gz"])
def test_bitbrains_stamps_are_seconds_and_kilobytes_become_pages(tmp_path: Path, name: str) -> None:
    """A stamp labelled ms is read as seconds, 4 KB make a page, plain and gzipped alike."""
    path = bitbrains_file(tmp_path / name, [(0, 2097152, 4096.4), (300, 2097152, 8192)])
    first, second = read_bitbrains(path)
    assert (first.t, first.used, first.provisioned) == (0, 1024, 524288)
    assert (second.t, second.used, second.peak) == (300, 2048, 2048)


def test_true_milliseconds_are_understood(tmp_path: Path) -> None:
    """A file whose stamps really are milliseconds gives the same seconds."""
    rows = [f"{(EPOCH + t) * 1000};1;1;1;1;4096;400;0;0;0;0" for t in (0, 300)]
    assert stamps(write(tmp_path / "vm.csv", [BITBRAINS_HEADER, *rows])) == [0, 300]


def test_rows_with_nothing_provisioned_are_passed_over(tmp_path: Path) -> None:
    """Of a series interleaved with a ghost of provisioned size 0, the real one is followed."""
    rows = [row for n in range(5) for row in ((300 * n, 0, 0), (300 * n, 4096, 400 * n))]
    samples = list(read_bitbrains(bitbrains_file(tmp_path / "vm.csv", rows)))
    assert [(sample.t, sample.used) for sample in samples] == [(300 * n, 100 * n) for n in range(5)]


@pytest.mark.parametrize("offset", [0, 60, 150, 200, 290])
def test_of_two_interleaved_series_one_is_followed(tmp_path: Path, offset: int) -> None:
    """Two series in one file, with equal or shifted stamps, give one series of even steps."""
    rows = [row for n in range(9) for row in ((300 * n, 4096, 40), (300 * n + offset, 8192, 80))]
    samples = list(read_bitbrains(bitbrains_file(tmp_path / "vm.csv", rows)))
    assert len({sample.provisioned for sample in samples}) == 1
    assert {b.t - a.t for a, b in pairwise(samples)} == {300}


def test_a_missing_row_is_not_filled_from_the_other_series(tmp_path: Path) -> None:
    """Where the series followed lacks a row, the other series' row is not taken for it."""
    rows = [row for n in range(9) for row in ((300 * n, 4096, 40), (300 * n, 8192, 80))]
    del rows[9]
    samples = list(read_bitbrains(bitbrains_file(tmp_path / "vm.csv", rows)))
    assert {sample.provisioned for sample in samples} == {2048}
    assert [sample.t for sample in samples] == [300 * n for n in range(9) if n != 4]


def test_creeping_size_is_one_series(tmp_path: Path) -> None:
    """A provisioned size that creeps is followed, also beside a second series."""
    rows = [row for n in range(20) for row in ((300 * n, 4096 + 400 * n, 40), (300 * n, 99999, 80))]
    creeping = [row for row in rows if row[1] != 99999]
    alone = list(read_bitbrains(bitbrains_file(tmp_path / "alone.csv", creeping)))
    assert [sample.provisioned for sample in alone] == [1024 + 100 * n for n in range(20)]
    both = list(read_bitbrains(bitbrains_file(tmp_path / "both.csv", rows)))
    assert {sample.used for sample in both} == {20}


def test_missing_hours_stay_missing(tmp_path: Path) -> None:
    """Missing hours show as a later stamp; no window straddles them."""
    times = [*range(0, 3000, 300), *range(12000, 15000, 300)]
    path = bitbrains_file(tmp_path / "vm.csv", [(t, 4096, 40) for t in times])
    assert stamps(path) == times
    cut = list(windows(TraceFile(path, "bitbrains"), length=6))
    assert [window.first for window in cut] == [0, 10]


def test_a_step_back_in_time_is_dropped(tmp_path: Path) -> None:
    """A row older than the one before it is passed over: time never falls."""
    assert stamps(bitbrains_file(tmp_path / "vm.csv", [(t, 4096, 4) for t in (0, 300, 0, 600)])) == [
        0,
        300,
        600,
    ]


def test_borg_fractions_are_scaled_to_the_machine(tmp_path: Path) -> None:
    """Borg's microseconds become seconds from the first row, its fractions pages of the machine."""
    path = borg_file(tmp_path / "instance.csv.gz", [(300, 0.25, 0.5), (450, 0.125, 0.5)])
    first, second = read_borg(path, machine_pages=1000)
    assert (first.t, first.used, first.peak, first.provisioned) == (0, 250, 500, 500)
    assert (second.t, second.used) == (150, 125)


def test_a_borg_instance_without_limit_uses_its_assigned_memory(tmp_path: Path) -> None:
    """Where memory_limit is 0, assigned_memory is what the instance may use."""
    path = write(tmp_path / "a.csv", [",".join(BORG_COLUMNS), "0,0.1,0.1,0.3,0,7,1"])
    assert [sample.provisioned for sample in read_borg(path, 1000)] == [300]


@pytest.mark.parametrize("column", BORG_COLUMNS)
def test_a_missing_borg_column_is_named(tmp_path: Path, column: str) -> None:
    """A Borg file that lacks a needed column is refused with file, column and cure, in one line."""
    header = ",".join(("extra", *BORG_COLUMNS)).replace(column, "something")
    path = borg_file(tmp_path / "instance.csv", [(0, 0.1, 0.2)], header)
    (trace,) = find_traces(path)
    with pytest.raises(TraceError, match=rf"instance\.csv: column '{column}' is missing: bring") as caught:
        list(trace.samples())
    assert "\n" not in str(caught.value)


def test_a_missing_bitbrains_column_is_named(tmp_path: Path) -> None:
    """A Bitbrains file that lacks its memory usage is refused with file, column and cure."""
    path = write(tmp_path / "vm.csv", [BITBRAINS_HEADER.replace("Memory usage", "Usage"), "1;1;1"])
    (trace,) = find_traces(path)
    with pytest.raises(TraceError, match=r"vm\.csv: column 'Memory usage \[KB\]' is missing"):
        list(trace.samples())


def broken_number(path: Path) -> Path:
    return write(path, [",".join(BORG_COLUMNS), "0,0.1,0.1,0.1,0.1,7,1", "1,NaN,0.1,0.1,0.1,7,1"])


def short_line(path: Path) -> Path:
    return write(path, [",".join(BORG_COLUMNS), "0,0.1,0.1,0.1,0.1,7,1", "1,0.1"])


def unsorted(path: Path) -> Path:
    return borg_file(path, [(300, 0.1, 0.1), (0, 0.1, 0.1)])


def two_instances(path: Path) -> Path:
    return write(path, [",".join(BORG_COLUMNS), "0,0.1,0.1,0.1,0.1,7,1", "1,0.1,0.1,0.1,0.1,7,2"])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (broken_number, r":3: avg_memory_usage is 'NaN'.*repair"),
        (short_line, r":3: the line has 2 fields.*fetch"),
        (unsorted, r":3: time runs backwards: sort"),
        (two_instances, r":3: instance 7-2 after 7-1: split"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, make: Callable[[Path], Path], complaint: str) -> None:
    """A line that cannot be used is refused with file, line and cure."""
    with pytest.raises(TraceError, match=r"instance\.csv" + complaint):
        list(read_borg(make(tmp_path / "instance.csv")))


def test_a_cut_off_gzip_is_named(tmp_path: Path) -> None:
    """A gzip cut off in transfer is refused with its name, not with a traceback of the codec."""
    path = borg_file(tmp_path / "instance.csv.gz", [(t, 0.1 + t / 1e9, 0.2) for t in range(5000)])
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(TraceError, match=r"instance\.csv\.gz: damaged or cut-off gzip"):
        list(read_borg(path))


def test_a_folder_is_searched_recursively_in_sorted_order(tmp_path: Path) -> None:
    """Traces of both formats are found in subfolders, sorted by path; other files are passed over."""
    borg_file(tmp_path / "b" / "z.csv.gz", [(0, 0.1, 0.2)])
    bitbrains_file(tmp_path / "a" / "y.csv", [(0, 4096, 40)])
    borg_file(tmp_path / "b" / "a" / "x.csv", [(0, 0.1, 0.2)])
    write(tmp_path / "other.csv", ["timestamp,cpu_util", "1,2"])
    write(tmp_path / "README.md", ["time"])
    found = [(trace.path.name, trace.format) for trace in find_traces(tmp_path)]
    assert found == [("y.csv", "bitbrains"), ("x.csv", "borg"), ("z.csv.gz", "borg")]


@pytest.mark.parametrize("name", ["", "other.csv", "absent.csv"])
def test_no_trace_is_one_clear_line(tmp_path: Path, name: str) -> None:
    """A folder without traces, a file of another format and an absent path each say what to bring."""
    write(tmp_path / "other.csv", ["timestamp,cpu_util", "1,2"])
    with pytest.raises(TraceError, match=r"name a Google Borg 2019 .* or a Bitbrains") as caught:
        find_traces(tmp_path / name)
    assert "\n" not in str(caught.value)


def day_long_traces(folder: Path) -> tuple[TraceFile, ...]:
    for number, rows in enumerate((10, 25, 31, 4)):
        borg_file(folder / f"{number}.csv", [(300 * n, 0.1 + n / 100, 0.5) for n in range(rows)])
    return find_traces(folder, machine_pages=1000)


def test_windows_follow_one_another_and_read_back(tmp_path: Path) -> None:
    """A file is cut into windows of `length` samples without overlap, each of which streams from t=0."""
    second = list(windows(day_long_traces(tmp_path)[1], length=10))[1]
    samples = list(second.samples())
    assert (second.first, len(samples), samples[0].t, samples[-1].t) == (10, 10, 0, 2700)
    assert samples[0].used == 200
    assert (second.provisioned, second.peak) == (500, max(sample.peak for sample in samples))
    assert Replay(second.points).demand(150) == 205


def test_more_guests_than_files_get_different_windows(tmp_path: Path) -> None:
    """Every file long enough gives one window before any gives two, and no window is given twice."""
    traces = day_long_traces(tmp_path)
    chosen = choose_windows(traces, 5, Random(4), length=10)
    assert len({(window.trace.path, window.first) for window in chosen}) == 5
    assert len({window.trace.path for window in chosen[:3]}) == 3


def test_the_choice_repeats_for_the_same_stream_only(tmp_path: Path) -> None:
    """The same random stream chooses the same windows; other streams choose others."""
    traces = day_long_traces(tmp_path)
    choices = [choose_windows(traces, 3, Random(seed), length=10) for seed in (1, 1, 2, 3, 4)]
    assert choices[0] == choices[1]
    assert len(set(choices)) > 1


def test_too_few_windows_say_how_many_there_are(tmp_path: Path) -> None:
    """Asking for more guests than windows is refused with both numbers and the cure."""
    traces = day_long_traces(tmp_path)
    with pytest.raises(TraceError, match=r"4 trace files, 6 windows .* but 7 are wanted: bring more"):
        choose_windows(traces, 7, Random(1), length=10)
