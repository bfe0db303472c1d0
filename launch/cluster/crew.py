"""The processes of a run, started and stopped by their own handles.

Start method: forkserver with the parties' modules preloaded (a guest starts in milliseconds). Never by
name or by a pid that somebody else may have by now.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import TracebackType
from typing import Any, Final, Self

import multiprocess
import multiprocess.process

from hypervisor.edge import SharedEpoch
from hypervisor.public.points import Cells

START_METHOD: Final = "forkserver"
PRELOAD: Final = (
    "launch.cli",
    "launch.cluster.crew",
    "multiprocess.popen_forkserver",
    "multiprocess.sharedctypes",
    "hypervisor.process",
    "guests.process",
    "toolstack.process",
)
"""Imported once, in the fork server, and not in each of a thousand children: launch.cli because each runs the
main script again, which imports it, the next three for what every child is handed."""
TERM_SECONDS: Final = 10.0
"""Real seconds a process has to leave after SIGTERM before it is killed."""

Recorder = Callable[[str, int], None]


@dataclass(slots=True, eq=False)
class Member:
    """One process: what it is, its handle, and whether its end was ours to cause."""

    role: str
    process: BaseProcess
    log: Path
    dismissed: bool = False

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self.process.is_alive()

    @property
    def failed(self) -> bool:
        """True when it ended by itself in any other way than by returning."""
        return not self.dismissed and self.process.exitcode not in (None, 0)

    def ending(self) -> str:
        """How it ended, for the summary."""
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"{self.role} (pid {self.process.pid}) was ended by signal {-code}"
        text = f"{self.role} (pid {self.process.pid}) ended with exit code {code}"
        last = _last_line(self.log)
        return f"{text}: {last}" if last else text


class Crew:
    """All processes of one run on one host. A context manager: leaving it leaves nothing behind."""

    def __init__(self, folder: Path, record: Recorder) -> None:
        """Logs go to `folder`; `record` is told every role and pid."""
        self._context = multiprocess.get_context(START_METHOD)
        self._context.set_forkserver_preload(list(PRELOAD))
        self._folder = folder
        self._record = record
        self._members: list[Member] = []
        self._ends = DefaultSelector()
        """Ready for everyone who has ended."""

    def shared_epoch(self) -> SharedEpoch:
        """A number that every process started with it can see change; 0 for now."""
        epoch: SharedEpoch = self._context.RawValue("q", 0)
        return epoch

    def shared_cells(self, count: int) -> Cells:
        """Numbers that every process started with them can see change; 0 for now."""
        cells: Cells = self._context.RawArray("q", count)
        return cells

    @property
    def members(self) -> tuple[Member, ...]:
        """All that were started, in that order; some may have ended."""
        return tuple(self._members)

    def start(self, role: str, target: Callable[..., None], *arguments: Any) -> Member:
        """Run `target(*arguments)` in a process of its own, its output in <role>.log."""
        log = self._folder / f"{role}.log"
        process = self._context.Process(
            target=_logged, args=(log, target, arguments), name=f"claimlab {role}"
        )
        process.start()
        _known_to_us_alone(process)
        member = Member(role, process, log)
        self._members.append(member)
        self._ends.register(process.sentinel, EVENT_READ)
        assert process.pid is not None
        self._record(role, process.pid)
        return member

    def dismiss(self, member: Member) -> None:
        """Ask one to leave (SIGTERM). Waits for nothing; one that has ended already stays as it ended."""
        if member.alive:
            member.dismissed = True
            member.process.terminate()
            self.signal(member, signal.SIGCONT)  # one that is held has to wake up to leave

    def wait_for(self, members: Iterable[Member], seconds: float = TERM_SECONDS) -> None:
        """Wait for those that were dismissed; who is still there after `seconds` in all is killed."""
        deadline = time.monotonic() + seconds
        for member in members:
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.alive:
                member.process.kill()
                member.process.join()

    def kill(self, member: Member) -> None:
        """SIGKILL, as a fault of the scenario's: it counts as an end of its own."""
        member.process.kill()
        member.process.join()

    def signal(self, member: Member, number: signal.Signals) -> None:
        """Send a signal, SIGSTOP or SIGCONT; nothing happens to one that has ended."""
        if member.alive and member.process.pid is not None:  # not reaped yet, so the pid is its own
            os.kill(member.process.pid, number)

    def failures(self) -> list[str]:
        """How each that ended by itself, and not well, ended. Asks every process."""
        return [member.ending() for member in self._members if member.failed]

    def trouble(self) -> list[str]:
        """The same for asking again and again: nobody is asked before anybody has ended."""
        return self.failures() if self._ends.select(0) else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self._members:
            self.dismiss(member)
        self.wait_for(self._members)
        self._ends.close()
        for member in self._members:
            member.process.close()


def _known_to_us_alone(process: BaseProcess) -> None:
    """Drop it from the children that multiprocess looks after itself; a crew ends its own.

    Each start would ask all of them whether they still run: half a million system calls for a thousand.
    """
    vars(multiprocess.process)["_children"].discard(process)


def _logged(log: Path, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """In the child: all output to the log, and a traceback of ours as its end."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    threading.Thread(target=_leave_with_launcher, daemon=True).start()
    target(*arguments)


def _leave_with_launcher() -> None:
    """Nobody is left to stop this process once its launcher was killed, so it stops itself."""
    launcher = multiprocess.parent_process()
    assert launcher is not None
    launcher.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(TERM_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
