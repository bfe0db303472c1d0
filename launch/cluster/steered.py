"""One host of a run, as whoever watches may steer it: its processes stopped, let go on, killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hypervisor.edge import SharedEpoch
from launch.cluster.crew import Crew, Member
from launch.cluster.leftovers import Identified

STOPPED: Final = "T"
"""State of a process in /proc/PID/stat that SIGSTOP has reached (proc(5))."""
STOP_SECONDS: Final = 10.0
"""Real seconds to wait for that; a process in disk I/O, or one that gets no CPU, may take its time."""


class SteeredHost:
    """A `launch.live.steering.Steered`."""

    def __init__(
        self,
        name: str,
        crew: Crew,
        epoch: SharedEpoch,
        guests: Mapping[Identified, Member],
        notes: list[str],
    ) -> None:
        """`guests` is the run's own book, by (domid, incarnation); what was done goes into `notes`."""
        self.name = name
        self._crew = crew
        self._epoch = epoch
        self._guests = guests
        self._notes = notes
        self._stopped: list[Member] = []
        self._since = 0
        self._warned: Member | None = None
        """Whose death was asked for once."""

    def stand_still(self) -> None:
        """Stop whoever runs. Emulated time stands from the moment at which the last one has stopped."""
        self._stopped = [one for one in self._crew.members if one.alive and state_of(one) != STOPPED]
        for member in reversed(self._stopped):  # the hypervisor, which came first, last
            self._crew.signal(member, signal.SIGSTOP)
        deadline = time.monotonic() + STOP_SECONDS
        while any(one.alive and state_of(one) != STOPPED for one in self._stopped):
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        self._since = time.monotonic_ns()

    def go_on(self) -> None:
        """Those that were stopped here go on, and none that was held before."""
        if self._since:
            self._epoch.value += time.monotonic_ns() - self._since
        self._since = 0
        for member in self._stopped:
            self._crew.signal(member, signal.SIGCONT)
        self._stopped = []

    def hold(self, domid: int, incarnation: int) -> str:
        """Stop a guest's process, or let it go on again."""
        member = self._guests.get((domid, incarnation))
        if member is None or not member.alive:
            return _nobody(domid)
        self._warned = None
        held = state_of(member) == STOPPED and member not in self._stopped
        if held and self._since:
            self._stopped.append(member)  # it goes on with the others
        elif member in self._stopped:
            self._stopped.remove(member)
        else:
            self._crew.signal(member, signal.SIGCONT if held else signal.SIGSTOP)
        return self._note(f"{member.role} ({self._whose(member)}) {'goes on' if held else 'held'} by hand")

    def kill(self, domid: int, incarnation: int) -> str:
        """Kill a guest's process; its domain stays, as in life.

        One that carries other guests too is killed when that is asked for twice in a row: the first answer
        says whom it would hit.
        """
        member = self._guests.get((domid, incarnation))
        if member is None or not member.alive:
            return _nobody(domid)
        whose = self._whose(member)
        if len(self._domains(member)) > 1 and self._warned is not member:
            self._warned = member
            return f"{member.role} carries {whose}: ask again to kill them all"
        self._warned = None
        self._crew.kill(member)
        return self._note(f"{member.role} ({whose}) killed by hand")

    def _domains(self, member: Member) -> list[int]:
        return sorted(domid for (domid, _), one in self._guests.items() if one is member)

    def _whose(self, member: Member) -> str:
        first, *more = self._domains(member)
        if not more:
            return f"domain {first}"
        return f"domains {', '.join(map(str, (first, *more[:2])))}" + (
            f" and {len(more) - 2} more" if len(more) > 2 else ""
        )

    def _note(self, text: str) -> str:
        self._notes.append(text)
        return text


def _nobody(domid: int) -> str:
    return f"domain {domid} has no guest's process"


def state_of(member: Member) -> str:
    """The letter of its state; "" when it is gone."""
    try:
        stat = Path(f"/proc/{member.process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]
