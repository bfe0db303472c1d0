"""What a killed run left behind: processes told by pid and start time, never by name, and their sockets."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from launch.errors import UsageError
from launch.live.access import ACCESS
from launch.results import LATEST, PIDS, SOCKETS, SOCKETS_PREFIX, start_time

TERM_SECONDS: Final = 10.0
"""Real seconds that a process has to leave after SIGTERM before it is killed."""


def find_runs(folder: Path) -> list[Path]:
    """The runs in a folder of runs, or the folder itself if it is one. UsageError when it is neither."""
    if _is_run(folder):
        return [folder]
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder: name a run, or the folder that holds runs")
    return sorted(one for one in folder.iterdir() if one.name != LATEST and _is_run(one))


def _is_run(folder: Path) -> bool:
    return (folder / SOCKETS).is_file() or (folder / PIDS).is_file()


def clean_run(run: Path) -> list[str]:
    """Remove what it left, one line for each thing removed. A run whose launcher lives is left alone."""
    sockets = list(_entries(run / SOCKETS))
    running = next((one for one in sockets if _lives(one)), None)
    if running is not None:
        return [f"{run}: still running (pid {running['pid']}): stop it with Ctrl-C or SIGTERM first"]
    done = [_stopped(run, entry) for entry in _entries(run / PIDS)]
    done += [_removed(run, Path(entry["folder"])) for entry in sockets]
    for path in run.glob(f"*/*/*/{ACCESS}"):
        path.unlink()  # its secrets open nothing any more
    return [line for line in done if line]


def _entries(path: Path) -> Iterator[Mapping[str, Any]]:
    """The whole lines of the file; the last one may be torn, by the kill that is cleaned up after."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _lives(entry: Mapping[str, Any]) -> bool:
    return entry["start_time"] is not None and start_time(entry["pid"]) == entry["start_time"]


def _stopped(run: Path, entry: Mapping[str, Any]) -> str | None:
    """The handle is opened before the start time is compared: a pid that comes round later is never hit."""
    try:
        handle = os.pidfd_open(entry["pid"])
    except OSError:
        return None
    try:
        if _ended(handle, 0.0) or not _lives(entry):
            return None
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _ended(handle, TERM_SECONDS):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _ended(handle, TERM_SECONDS)
    except ProcessLookupError:
        return None  # it left by itself meanwhile
    finally:
        os.close(handle)
    return f"{run}: stopped {entry['role']} (pid {entry['pid']})"


def _ended(handle: int, seconds: float) -> bool:
    """A process's descriptor is readable once it has ended (pidfd_open(2))."""
    return bool(select.select([handle], [], [], seconds)[0])


def _removed(run: Path, folder: Path) -> str | None:
    if not folder.name.startswith(SOCKETS_PREFIX) or not folder.is_dir() or folder.is_symlink():
        return None
    if folder.stat().st_uid != os.getuid():
        return None
    shutil.rmtree(folder)
    return f"{run}: removed the sockets in {folder}"
