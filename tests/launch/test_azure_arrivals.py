"""Azure V1 replay over small files, whole and broken."""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from guests.traces.errors import TraceError
from launch.arrivals.arrival import Arrival
from launch.arrivals.azure import Thinning, azure
from launch.cluster.arrivals import plan_arrivals
from launch.scenario.load import load_scenario

GIB = 262_144
ALL = Thinning()
INTERVALS = "".join(f"{300 * n} {min(n, 3 + n // 10)}\n" for n in range(40))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two streams that follow one another, 1000.. and 1600.. s, with their tables."""
    (tmp_path / "flav_map.txt").write_text("1,0.75 a\n4,7 k\n16,112 d\n")
    (tmp_path / "v1.interval_map.txt.gz").write_bytes(gzip.compress(INTERVALS.encode()))
    (tmp_path / "v1.dev.txt").write_text("1000 a,a,|,k,|,\n1300 d,|,\n")
    (tmp_path / "v1.dev.c1600.txt").write_text("1000 U1,C1,|,U0,|,\n1300 C1,|,\n")
    (tmp_path / "v1.test.txt.gz").write_bytes(gzip.compress(b"1600 a,k,|\n1900\n2200 k,|\n"))
    (tmp_path / "v1.test.c2500.txt.gz").write_bytes(gzip.compress(b"1600 U3,U2,|\n1900\n2200 C1,|\n"))
    (tmp_path / "v1.train.txt").write_text("700 a,|\n")
    return tmp_path


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def by_batch(arrivals: list[Arrival]) -> dict[int, list[Arrival]]:
    batches: defaultdict[int, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        batches[arrival.batch].append(arrival)
    return batches


def test_streams_are_read_one_after_the_other(folder: Path) -> None:
    """All batches of both streams come in time order, their VMs together, sized by the flavour map."""
    arrivals = list(azure(folder, Random(1), ALL))
    assert [arrival.t for arrival in arrivals] == sorted(arrival.t for arrival in arrivals)
    batches = by_batch(arrivals)
    assert {number: [(a.pages, a.vcpus) for a in batch] for number, batch in batches.items()} == {
        0: [(GIB * 3 // 4, 1), (GIB * 3 // 4, 1)],
        1: [(7 * GIB, 4)],
        2: [(112 * GIB, 16)],
        3: [(GIB * 3 // 4, 1), (7 * GIB, 4)],
        4: [(7 * GIB, 4)],
    }
    assert all(len({arrival.t for arrival in batch}) == 1 for batch in batches.values())


@pytest.mark.parametrize("seed", range(20))
def test_batches_stay_in_their_bin(folder: Path, seed: int) -> None:
    """Batches are spread inside their 5 minutes, counted from the first line of the trace."""
    for arrival in azure(folder, Random(seed), ALL):
        begin = {0: 0, 1: 0, 2: 300, 3: 600, 4: 1200}[arrival.batch]
        assert begin <= arrival.t < begin + 300


@pytest.mark.parametrize("seed", range(20))
def test_lifetimes_lie_in_their_interval(folder: Path, seed: int) -> None:
    """A lifetime lies in its interval; that of a VM alive at the trace's end reaches past the end."""
    arrivals = list(azure(folder, Random(seed), ALL))
    bounds = [(300, 600), (300, 600), (0, 300), (300, 600), (900, 3300), (600, 900), (300, 600)]
    by_number = sorted(arrivals, key=lambda arrival: arrival.batch)
    for arrival, (low, high) in zip(by_number, bounds, strict=True):
        assert arrival.lifetime is not None
        assert low <= arrival.lifetime <= high
    censored = [(by_number[1], 1600), (by_number[3], 1600), (by_number[6], 2500)]
    assert all(1000 + a.t + (a.lifetime or 0) >= end for a, end in censored)


def test_a_window_moves_the_origin(folder: Path) -> None:
    """A window in trace seconds keeps the launches inside it and counts from its start."""
    whole = [a.batch for a in azure(folder, Random(1), ALL, start=1300, length=600)]
    assert whole == [2, 3, 3]
    assert all(0 <= a.t < 600 for a in azure(folder, Random(1), ALL, start=1300, length=600))
    assert [a.batch for a in azure(folder, Random(1), ALL, start=1900)] == [4]


def test_one_file_is_enough_with_its_partners_beside_it(folder: Path) -> None:
    """Naming one launch file reads that stream alone."""
    assert len(list(azure(folder / "v1.test.txt.gz", Random(1), ALL))) == 3


def test_a_large_batch_is_dropped_whole(folder: Path) -> None:
    """A batch above the size limit is dropped whole; the others, and their numbers, stay."""
    arrivals = list(azure(folder, Random(1), Thinning(batch_pages=7 * GIB)))
    assert {arrival.batch for arrival in arrivals} == {0, 1, 4}


def test_thinning_keeps_whole_batches(tmp_path: Path, folder: Path) -> None:
    """Thinning keeps a fraction of the batches, each whole."""
    line = "a,a,a,|," * 400
    (folder / "v1.dev.txt").write_text(f"1000 {line}\n")
    (folder / "v1.dev.c1600.txt").write_text(f"1000 {line.replace('a', 'U1')}\n")
    arrivals = list(azure(folder / "v1.dev.txt", Random(5), Thinning(keep=0.25)))
    sizes = Counter(arrival.batch for arrival in arrivals)
    assert set(sizes.values()) == {3}
    assert 60 < len(sizes) < 140


def test_the_stream_repeats_with_its_seed(folder: Path) -> None:
    """The same random stream gives the same arrivals, another one others."""
    made = [list(azure(folder, Random(seed), ALL)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("name", ["v1.dev.txt", "flav_map.txt", "v1.interval_map.txt.gz"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """A missing partner or table is named, with the file that needs it and the cure, in one line."""
    (folder / name).unlink()
    stem = name.removesuffix(".gz")
    with pytest.raises(
        TraceError, match=rf"{stem} \(or \.gz\) is missing, v1\.dev\S+ needs it: put"
    ) as caught:
        azure(folder, Random(1), ALL)
    assert "\n" not in str(caught.value)


def test_the_stream_is_not_read_ahead(folder: Path) -> None:
    """Launches come while the trace is read: damage in a later bin is met only when its bin is reached."""
    rewrite(folder / "v1.dev.txt", "1300 d", "1300 z")
    arrivals = azure(folder, Random(1), ALL)
    assert {next(arrivals).batch for _ in range(3)} == {0, 1}
    with pytest.raises(TraceError, match=r"v1\.dev\.txt:2: unknown flavour"):
        next(arrivals)


def test_a_missing_lifetime_file_is_named(folder: Path) -> None:
    """A launch file without lifetimes (v1.train as published) says which file is missing."""
    with pytest.raises(TraceError, match=r"v1\.train\.txt: no lifetime file v1\.train\.c<end>\.txt"):
        azure(folder / "v1.train.txt", Random(1), ALL)


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_streams_is_refused(tmp_path: Path, name: str) -> None:
    """An empty folder and an absent path say which files to bring."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(TraceError, match=r"put the Azure V1 files \(v1\.test\.txt"):
        azure(tmp_path / name, Random(1), ALL)


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("v1.dev.c1600.txt", "U1,C1", "U1", r"v1\.dev\.txt:1: .*differ in batches or in VMs"),
        ("v1.dev.c1600.txt", "U0,|,", "", r"v1\.dev\.txt:1: .*differ in batches or in VMs"),
        ("v1.dev.c1600.txt", "1300", "1600", r"v1\.dev\.txt:2: second 1300 is paired with 1600"),
        ("v1.dev.c1600.txt", "1300 C1,|,\n", "", r"v1\.dev\.txt:2: v1\.dev\.c1600\.txt ends before"),
        ("v1.dev.txt", "1300 d,|,\n", "", r"v1\.dev\.txt:2: v1\.dev\.txt ends before"),
        ("v1.dev.txt", "k,|", "z,|", r"v1\.dev\.txt:1: unknown flavour 'z': use the flav_map\.txt"),
        ("v1.dev.c1600.txt", "U0", "U99", r"c1600\.txt:1: unknown lifetime 'U99': use the v1\.interval_map"),
        ("v1.dev.c1600.txt", "U0", "X0", r"c1600\.txt:1: unknown lifetime 'X0'"),
        ("v1.dev.txt", "1300 d", "soon d", r"v1\.dev\.txt:2: 'soon d,.*does not begin with a second"),
        ("flav_map.txt", "4,7 k", "4;7 k", r"flav_map\.txt:2: '4;7 k' is not 'vcpus,memory_GiB letter'"),
    ],
)
def test_files_that_do_not_match_are_named(
    folder: Path, file: str, old: str, new: str, complaint: str
) -> None:
    """Misaligned lines and unknown codes are refused with file, line number and cure, in one line."""
    rewrite(folder / file, old, new)
    with pytest.raises(TraceError, match=complaint) as caught:
        list(azure(folder, Random(1), Thinning(keep=1e-9)))
    assert "\n" not in str(caught.value)


def test_two_copies_of_a_stream_are_refused(folder: Path) -> None:
    """The same stream twice under one folder is refused: time must rise."""
    copy = folder / "copy"
    copy.mkdir()
    for name in ("v1.dev.txt", "v1.dev.c1600.txt", "flav_map.txt", "v1.interval_map.txt.gz"):
        (copy / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(TraceError, match="second 1000 does not follow 1300: keep one copy"):
        list(azure(folder, Random(1), ALL))


@pytest.mark.parametrize("start", [700.0, 2500.0])
def test_a_window_outside_the_trace_names_its_span(folder: Path, start: float) -> None:
    """A window that starts outside the trace is refused with the seconds the trace covers."""
    with pytest.raises(TraceError, match=r"start the window in 1000\.\.2500"):
        azure(folder, Random(1), ALL, start=start)


def test_impossible_parameters_are_refused(folder: Path) -> None:
    """A fraction outside 0..1 and a window without length are refused at once."""
    with pytest.raises(ValueError, match="fraction"):
        Thinning(keep=0)
    with pytest.raises(ValueError, match="window"):
        azure(folder, Random(1), ALL, length=0)


def test_a_scenario_may_scale_the_sizes(folder: Path) -> None:
    """arrivals.scale leaves moments, lifetimes and batches alone, and every size is that part of the VM's."""
    sets = ("host.memory=1TiB", "arrivals.kind=azure", f"arrivals.trace={folder}", "duration=4000000")
    whole, part = (
        plan_arrivals(load_scenario("default", [*sets, f"arrivals.scale={scale}"]).scenario, 1)
        for scale in (1, 0.0625)
    )
    assert len(whole) > 3
    assert [replace(one, pages=round(one.pages / 16)) for one in whole] == list(part)
