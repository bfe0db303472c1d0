"""All hosts of a run, several at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from launch.check.host import JOURNAL, check_host
from launch.check.report import HostReport, RunReport
from launch.errors import UsageError
from launch.pools import in_order


def check_run_folder(run: Path, jobs: int = 1) -> RunReport:
    """Check RUN/<scheme>/<repeat>/<host>/, or one such folder. Progress goes to standard error.

    `jobs` processes share the hosts. UsageError when there is nothing to check.
    """
    folders = host_folders(run)
    hosts: list[HostReport] = []
    work = partial(_one, run.resolve())
    for report in in_order(work, [folder.resolve() for folder in folders], jobs):
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


def _one(run: Path, folder: Path) -> HostReport:
    name = folder.name if folder == run else str(folder.relative_to(run))
    return check_host(folder, name, tell)
