"""What a run takes of the machine, and whether the machine gives it: known before anything is started.

Connections are no limit of their own: a guest's process has one socket in a context of its own and the
hypervisor one for each role (ZMQ_MAX_SOCKETS is 1023 a context), and who finds the queue of connections full
(ZMQ_BACKLOG) tries again by itself.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from launch.errors import UsageError
from launch.scenario.at_once import schemes_at_once
from launch.scenario.models import Scenario
from launch.scenario.scenes import scenes

DESCRIPTORS_FOR_ITSELF: Final = 128
DESCRIPTORS_PER_PROCESS: Final = 3
"""The launcher has two for every process (2.0 measured), fork server and hypervisor one."""
THREADS_PER_PROCESS: Final = 4
"""Its own, libzmq's two, and the one that waits for the launcher's end."""
KIB_PER_PROCESS: Final = 9 * 1024
"""Memory that a process shares with nobody: 8.5 MiB measured."""
KIB_PER_GUEST: Final = 50
"""Of memory for each guest in its process and for its domain in the hypervisor: 20 and 10 measured."""
KIB_BESIDE: Final = 300 * 1024
"""Launcher, fork server, and what the judge takes at the end."""
WORTH_SAYING: Final = 100
"""Processes from which on a run says beforehand what it takes."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run takes at its largest."""

    processes: int
    guests: int

    @property
    def descriptors(self) -> int:
        """File descriptors of the process that has the most, the launcher."""
        return DESCRIPTORS_FOR_ITSELF + DESCRIPTORS_PER_PROCESS * self.processes

    @property
    def threads(self) -> int:
        """What RLIMIT_NPROC counts."""
        return THREADS_PER_PROCESS * self.processes

    @property
    def memory_kib(self) -> int:
        """KiB, an estimate."""
        return KIB_BESIDE + KIB_PER_PROCESS * self.processes + KIB_PER_GUEST * self.guests

    def told(self) -> str:
        """For the line before the launch; "" where it goes without saying."""
        if self.processes < WORTH_SAYING:
            return ""
        return f"; {self.processes:,} processes in about {_gib(self.memory_kib)}"


def needs(scenario: Scenario, launches: int) -> Needs:
    """Guests' processes, launches that become guests, toolstacks and hypervisors."""
    toolstacks = max(len(schemes_at_once(entry)) for entry in scenario.schemes) * scenario.toolstack.count
    every = scenes(scenario)
    carriers = sum(-(-one.guests.count // one.guests.per_process) for one in every)
    guests = sum(one.guests.count for one in every)
    return Needs(launches + carriers + len(every) * (toolstacks + 1), launches + guests)


def ensure_limits(wanted: Needs) -> None:
    """Raise the soft limits of files and processes to what is needed; UsageError where something is short."""
    lower = "lower guests.count, or raise guests.per_process"
    for name, limit, amount, option in (
        ("file descriptors", resource.RLIMIT_NOFILE, wanted.descriptors, "-n"),
        ("processes and threads", resource.RLIMIT_NPROC, wanted.threads + _threads_of_mine(), "-u"),
    ):
        hard = _raised(limit, amount)
        if hard is not None and not (limit == resource.RLIMIT_NPROC and os.geteuid() == 0):
            raise UsageError(
                f"too few {name}: {wanted.processes} processes need {amount}, the limit is {hard}: "
                f"run `ulimit {option} {amount}` first (root may), or {lower}"
            )
    most = _number("/proc/sys/kernel/pid_max")
    if most is not None and wanted.threads > most:
        raise UsageError(
            f"too few process ids: {wanted.threads} are needed, kernel.pid_max is {most}: {lower}"
        )
    available = _available_kib()
    if available is not None and wanted.memory_kib > available:
        raise UsageError(
            f"too little memory: {wanted.processes} processes with {wanted.guests} guests take about "
            f"{_gib(wanted.memory_kib)}, {_gib(available)} are available: {lower}"
        )


def _raised(limit: int, amount: int) -> int | None:
    """Raise the soft limit if need be; the hard one where that forbids it."""
    soft, hard = resource.getrlimit(limit)
    if soft == resource.RLIM_INFINITY or soft >= amount:
        return None
    if hard != resource.RLIM_INFINITY and hard < amount:
        return hard
    resource.setrlimit(limit, (amount, hard))
    return None


def _threads_of_mine() -> int:
    """Threads of this user's processes, which count as well."""
    return sum(_threads(folder) for folder in Path("/proc").glob("[0-9]*"))


def _threads(process: Path) -> int:
    try:
        return len(os.listdir(process / "task")) if process.stat().st_uid == os.getuid() else 0
    except OSError:
        return 0  # it has ended


def _available_kib() -> int | None:
    """MemAvailable (proc(5)); None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _gib(kib: int) -> str:
    return f"{kib / (1 << 20):.1f} GiB"
