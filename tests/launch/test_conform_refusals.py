"""Files that cannot be replayed are refused with one line that says why."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from launch.conform.conform import conform_files
from launch.conform.reader import MAX_LINE_BYTES, RefusedRecordingError, read_recording
from tests.launch.recordings import DATA, recorded_lines, write_lines

H07 = DATA / "4.17" / "h07-consume.jsonl.gz"


def refusal(path: Path) -> str:
    with pytest.raises(RefusedRecordingError) as caught:
        read_recording(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(str(path))
    return line


def test_a_race_recording_is_refused() -> None:
    """A race file lists counts, not operations: one line, exit code 2, and nothing is replayed."""
    path = DATA / "4.17" / "race2.jsonl.gz"
    assert "race recording" in refusal(path)
    report = conform_files([path])
    assert (report.exit_code, report.operations, len(report.refused)) == (2, 0, 1)


def test_a_refused_file_does_not_stop_the_others() -> None:
    """Beside a race file the other files are replayed, and the exit code still tells of the refusal."""
    report = conform_files([H07, DATA / "4.17" / "race2.jsonl.gz"], frame_heap=False)
    assert report.matched > 0
    assert report.exit_code == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"free 100\n", "no line of a recording"),
        (b'{"op":"claim","i":0}\n', "no header"),
        (b'{"header":true}\n', "no line of a recording"),
        (b"\xff\xfe\n", "no line of a recording"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    """An empty file, text, a file without header and a header without its fields each get a clear line."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    assert why in refusal(path)


def test_a_gz_that_is_none_or_cut_short_is_refused(tmp_path: Path) -> None:
    """A .gz that is plain text, or that lost its end, cannot be read and says so."""
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_bytes(b'{"header":true}\n')
    assert "cannot be read" in refusal(plain)
    short = tmp_path / "short.jsonl.gz"
    short.write_bytes(H07.read_bytes()[:400])
    assert "cannot be read" in refusal(short)


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    """What has no line breaks is not read to its end, which may never come; nor is a .gz that swells."""
    assert "line 1 is over 16 MiB" in refusal(Path("/dev/zero"))
    swollen = tmp_path / "swollen.jsonl.gz"
    header = json.dumps(recorded_lines(H07)[0]).encode() + b"\n"
    swollen.write_bytes(gzip.compress(header + bytes(MAX_LINE_BYTES + 1), 1))
    assert "line 2 is over 16 MiB" in refusal(swollen)


def test_unknown_operations_and_missing_lines_are_refused(tmp_path: Path) -> None:
    """An operation nobody knows, a missing footer and a missing line are told apart."""
    lines = recorded_lines(H07)
    assert "no footer" in refusal(write_lines(tmp_path / "a.jsonl", lines[:-1]))
    assert "the footer counts" in refusal(write_lines(tmp_path / "b.jsonl", lines[:2] + lines[3:]))
    lines[1]["op"] = "levitate"
    assert "unknown operation 'levitate'" in refusal(write_lines(tmp_path / "c.jsonl", lines))


def test_an_unknown_xen_asks_for_a_release(tmp_path: Path) -> None:
    """A Xen without preset is refused with the list of presets, and --release lets it be replayed."""
    lines = recorded_lines(H07)
    lines[0]["xen_version"] = "4.99.1"
    path = write_lines(tmp_path / "x.jsonl", lines)
    (line,) = conform_files([path]).refused
    assert "no preset for Xen 4.99.1; choose one with --release" in line
    assert conform_files([path], "4.17", frame_heap=False).exit_code == 0


@pytest.mark.parametrize(
    ("version", "release"), [("4.12.0", "4.12"), ("4.17.7", "4.17"), ("4.21.0", "4.21"), ("4.21.2", "4.22")]
)
def test_the_preset_follows_from_the_version(tmp_path: Path, version: str, release: str) -> None:
    """4.21.1 and later 4.21 carry the backports of 4.22's rules."""
    lines = recorded_lines(H07)
    lines[0]["xen_version"] = version
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
        file.write(write_lines(tmp_path / "x.jsonl", lines).read_text())
    assert conform_files([tmp_path / "x.jsonl.gz"], frame_heap=False).files[0].release == release
