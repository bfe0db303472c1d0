"""One host's folder: its journal replayed, and the histories beside it held against it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Final

from hypervisor.journal import JournalReader
from hypervisor.streams import JournalError
from launch.check.finding import EvidenceError, Finding, Kind, UnknownError
from launch.check.histories import Histories
from launch.check.real_time import RealTime
from launch.check.replay import Replay
from launch.check.report import HostReport

JOURNAL: Final = "journal.msgpack"
END_NOTE: Final = b"\x93\xa3end"
"""How the note begins that a hypervisor leaves when it stops in good order."""

Tell = Callable[[str], None]


def check_host(folder: Path, name: str, tell: Tell) -> HostReport:
    """Check one folder. `name` is what reports call it; `tell` hears of progress."""
    report = HostReport(name)
    begun = time.perf_counter()
    try:
        _check(folder, report, tell)
    except EvidenceError as error:
        report.findings.append(error.finding)
    except UnknownError as error:
        report.unknown = str(error)
    report.seconds = time.perf_counter() - begun
    return report


def _check(folder: Path, report: HostReport, tell: Tell) -> None:
    path = folder / JOURNAL
    try:
        size = path.stat().st_size
        file = path.open("rb")
    except OSError as error:
        raise UnknownError(f"{JOURNAL}: {error.strerror}: nothing can be said without it") from error
    with file:
        reader = _reader(file, size)
        report.release = str(reader.header.get("release"))
        replay = Replay(reader, JOURNAL, lambda steps: tell(f"{report.name}: {steps:,} steps"))
        _compare_release(folder, report.release)
        with Histories(folder) as histories:
            real_time = RealTime(replay, histories)
            try:
                real_time.run()
                replay.close()
                _look_at_the_end(file, reader, replay, size, report)
            finally:
                report.findings += replay.findings
                report.notes += [f"{torn}: its writer was killed in mid-record" for torn in histories.torn]
                _count(report, replay, real_time)


def _reader(file: BufferedReader, size: int) -> JournalReader:
    if not size or file.peek(1)[:1] == b"\0":
        raise UnknownError(f"{JOURNAL}: empty: the hypervisor ended before it wrote anything")
    try:
        return JournalReader(file)
    except JournalError as error:
        if "this program reads" in str(error):
            raise UnknownError(f"{JOURNAL}: {error}") from error
        raise EvidenceError(Finding(Kind.DAMAGED, JOURNAL, 0, 0, str(error))) from error


def _compare_release(folder: Path, release: str) -> None:
    """RUN/scenario.json, three folders up, names the release that was run; it may not be there."""
    scenario = folder.parents[2] / "scenario.json" if len(folder.parents) > 2 else folder / "scenario.json"
    try:
        wanted = json.loads(scenario.read_text(encoding="utf-8")).get("release")
    except (OSError, ValueError, AttributeError):
        return
    if wanted != release:
        text = f"its header says release {release!r}, scenario.json says {wanted!r}"
        raise EvidenceError(Finding(Kind.REPLAY, JOURNAL, 0, 0, text))


def _look_at_the_end(
    file: BufferedReader, reader: JournalReader, replay: Replay, size: int, report: HostReport
) -> None:
    """A torn last record is what a killed writer leaves; nothing whole comes after it."""
    file.seek(reader.place)
    rest = file.read().rstrip(b"\0")  # room that a killed writer had taken
    if rest:
        torn = len(rest)
        if END_NOTE in rest:
            text = f"{torn} bytes after it cannot be read, although the hypervisor ended in good order"
            raise EvidenceError(replay.finding(Kind.DAMAGED, text))
        report.notes.append(f"{JOURNAL}: the last record is torn ({torn} bytes): its writer was killed")
    if not replay.ended:
        report.notes.append(f"{JOURNAL}: no note of a good end: the run broke off at commit {replay.commit}")


def _count(report: HostReport, replay: Replay, real_time: RealTime) -> None:
    report.steps, report.operations = replay.commit, replay.operations
    report.returned, report.unrecorded = real_time.returned, real_time.unrecorded
    report.indefinite, report.happened = real_time.indefinite, real_time.happened
