"""Replays recordings of a real Xen and reports where the core answers otherwise."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from hypervisor.core.releases import RELEASES, Release
from launch.conform.reader import RefusedRecordingError, find_recordings, read_recording
from launch.conform.replay import replay, replay_on_frames
from launch.conform.report import ConformReport, FileReport
from launch.errors import UsageError
from launch.pools import in_order


def conform_files(
    paths: Sequence[Path | str],
    release: str | None = None,
    *,
    frame_heap: bool = True,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> ConformReport:
    """Replay recordings, plain or .gz; a folder stands for the recordings in it.

    `release` overrides the preset that follows from the Xen version in each header. `frame_heap` replays
    every file a second time on real frames. `jobs` processes share the files. `progress` is told a line per
    file; a file that cannot be replayed is listed in the report. Raises `UsageError` for an unknown release
    or a missing path.
    """
    override = None if release is None else named_release(release)
    work = partial(_report_or_refusal, release=override, frame_heap=frame_heap)
    files: list[FileReport] = []
    refused: list[str] = []
    for outcome in in_order(work, find_recordings([Path(path) for path in paths]), jobs):
        if isinstance(outcome, str):
            refused.append(outcome)
            continue
        files.append(outcome)
        if progress is not None:
            progress(f"{outcome.file}: {len(outcome.replayed.mismatches)} mismatches")
    return ConformReport(tuple(files), tuple(refused))


def _report_or_refusal(path: Path, release: Release | None, *, frame_heap: bool) -> FileReport | str:
    try:
        return conform_file(path, release, frame_heap=frame_heap)
    except RefusedRecordingError as error:
        return str(error)


RECORDED: Final = tuple(one.name for one in RELEASES.values() if not one.claim_sets)
"""Presets of released hypervisors; nobody has recorded claim sets, which no release has."""


def conform_file(path: Path, release: Release | None, *, frame_heap: bool) -> FileReport:
    """Replay one file. Raises `RefusedRecordingError` when it cannot be replayed."""
    recording = read_recording(path)
    preset = release or preset_of(recording.header.xen_version, path)
    agreement = replay_on_frames(recording, preset) if frame_heap else None
    return FileReport(str(path), preset.name, replay(recording, preset), agreement)


def named_release(name: str) -> Release:
    """The preset of that name. Raises `UsageError` listing the known ones."""
    if name not in RECORDED:
        raise UsageError(f"--release {name}: not known; use one of {', '.join(RECORDED)}")
    return RELEASES[name]


def preset_of(xen_version: str, path: Path) -> Release:
    """The preset for a Xen version. 4.21.1 and later 4.21 carry the rules of 4.22 (backports)."""
    series, _, point = xen_version.rpartition(".")
    if series == "4.21" and point != "0":
        series = "4.22"
    if series not in RECORDED:
        raise RefusedRecordingError(
            f"{path}: no preset for Xen {xen_version}; choose one with --release: {', '.join(RECORDED)}"
        )
    return RELEASES[series]
