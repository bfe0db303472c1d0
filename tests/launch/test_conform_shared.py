"""The recordings beside the repository, by family: zero mismatches on every preset."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.conform.conform import conform_files
from launch.conform.contiguity import stopped_for_contiguity, unexplained
from launch.conform.reader import RefusedRecordingError, read_recording
from launch.conform.text import report_text

RELEASES = ("4.12", "4.17", "4.21", "4.22")
# Each takes a second or more: very large populates, page by page.
SLOW = ("h21", "h22", "h31", "g01", "on-h21", "on-h22", "r0-01", "r0-04", "rt", "r18")
FAMILIES = {
    "4.12": ("h0", "h1", "h2", "g", "z", "on-h", "r0", "r9", "t0", "t1", "t2", "t3", "t4", "t9", "td", "tp"),
    "4.17": ("h0", "h1", "h2", "h3", "g", "n", "v", "z", "r0", "r9", "rh"),
    "4.21": ("h0", "h1", "h2", "h3", "g", "n", "v", "z", "r0", "r9", "rh"),
    "4.22": ("h0", "h1", "h2", "h3", "g", "n", "v", "z", "r0", "r9", "rh"),
}


def recordings(shared: Path, release: str, family: str) -> list[Path]:
    """The files of a family that can be replayed, slow ones left out."""
    folder = shared / "xen-traces" / release
    return [path for path in sorted(folder.glob(f"{family}*.jsonl.gz")) if not path.name.startswith(SLOW)]


@pytest.mark.rule(
    "C11",
    "T8",
    "T9",
    "T10",
    "T11",
    "T12",
    "T13",
    "T14",
    "T15",
    "T16",
    "T17",
    "T18",
    "T19",
    "T20",
    "T21",
    "T22",
    "T23",
    "T24",
    "T25",
    "T26",
    "T28",
    "T29",
    "T30",
    "T31",
    "T33",
    "T34",
    "A25",
    "A26",
    "C12",
    "C13",
    "C15",
    "C17",
    "C18",
    "C21",
    "C22",
    "C23",
    "C30",
    "A3",
    "A11",
    "A12",
)
@pytest.mark.parametrize(
    ("release", "family"), [(release, family) for release in RELEASES for family in FAMILIES[release]]
)
def test_no_mismatch_in_the_shared_recordings(shared: Path, release: str, family: str) -> None:
    """Hand-written and random recordings of a family are answered as the real hypervisor answered."""
    files = recordings(shared, release, family)
    report = conform_files(files, frame_heap=False)
    assert report.mismatched == 0, report_text(report)
    assert not report.refused
    assert report.matched > 0


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("release", RELEASES)
def test_no_mismatch_in_any_recording(shared: Path, release: str) -> None:
    """Every recording but races: zero mismatches, and real frames agree on 98 of 100 lines."""
    folder = shared / "xen-traces" / release
    files = [path for path in sorted(folder.glob("*.jsonl.gz")) if not path.name.startswith("race")]
    report = conform_files(files, jobs=2)
    assert report.mismatched == 0, report_text(report)
    assert not report.refused
    agreement = report.frame_heap
    assert agreement is not None
    assert agreement.agreed > 0.98 * agreement.of


def test_race_files_are_refused(shared: Path) -> None:
    """Each race recording is refused with one line."""
    files = sorted((shared / "xen-traces").glob("4.*/race*.jsonl.gz"))
    assert files
    for path in files:
        with pytest.raises(RefusedRecordingError):
            read_recording(path)


@pytest.mark.rule("C18")
@pytest.mark.parametrize("release", RELEASES[1:])
def test_contiguity_follows_from_the_counters(shared: Path, release: str) -> None:
    """Where a recording tells why Xen stopped, the counters alone tell the same of contiguity.

    In 4.22 a chunk that was lacking can hide behind max_pages as well (three lines of r18-02).
    """
    hidden = 0
    for path in sorted((shared / "xen-traces" / release).glob("*.jsonl.gz")):
        if path.name.startswith("race"):
            continue
        for line in read_recording(path).lines:
            if line.skipped:
                continue
            assert stopped_for_contiguity(line) == (line.why == "contig")
            assert not unexplained(line) or line.why == "contig"
            hidden += line.why == "contig" and not unexplained(line)
    assert hidden == (3 if release == "4.22" else 0)
