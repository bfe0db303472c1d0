"""All hosts of a run, several at a time."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from launch.check.host import JOURNAL, check_host
from launch.check.report import HostReport, RunReport
from launch.errors import UsageError


def check_run_folder(run: Path, jobs: int = 1) -> RunReport:
    """Check RUN/<scheme>/<repeat>/<host>/, or one such folder. Progress goes to standard error.

    `jobs` processes share the hosts. UsageError when there is nothing to check.
    """
    folders = host_folders(run)
    hosts: list[HostReport] = []
    for report in _each(run, folders, jobs):
        hosts.append(report)
        tell(f"{report.name}: {report.verdict}")
    return RunReport(str(run), tuple(hosts))


def host_folders(run: Path) -> Sequence[Path]:
    """The folders of a run's hosts, sorted. UsageError when there is none."""
    if (run / JOURNAL).is_file():
        return (run,)
    if not run.is_dir():
        raise UsageError(f"{run}: no such folder: name one that claimlab run left, such as runs/latest")
    found = sorted(path for path in run.glob("*/*/*") if path.is_dir() and path.parent.name.isdigit())
    if not found:
        raise UsageError(f"{run}: no run: name a folder that claimlab run left, such as runs/latest")
    return found


def tell(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def _each(run: Path, folders: Sequence[Path], jobs: int) -> Iterator[HostReport]:
    """Reports in the order of the folders."""
    work = partial(_one, run.resolve())
    folders = [folder.resolve() for folder in folders]
    if min(jobs, len(folders)) < 2:
        yield from map(work, folders)
        return
    with ProcessPoolExecutor(min(jobs, len(folders)), get_context("spawn"), _end_on_interrupt) as executor:
        try:
            yield from executor.map(work, folders)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _one(run: Path, folder: Path) -> HostReport:
    name = folder.name if folder == run else str(folder.relative_to(run))
    return check_host(folder, name, tell)


def _end_on_interrupt() -> None:
    """Ctrl-C reaches every process of the terminal; the parent alone has something to say about it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
