"""The toolstacks of a run: our processes, or foreign ones that are let in."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hypervisor.edge import SharedEpoch
from hypervisor.public.points import Cells
from launch.cluster.crew import Crew, Member
from launch.cluster.desk import Desk, News
from launch.cluster.streams import toolstack_seed
from launch.errors import UsageError
from launch.faults.links import real_link
from launch.faults.rules import Rules
from launch.scenario.at_once import scheme_of, schemes_at_once
from launch.scenario.models import Scenario
from toolstack.interface import Scheme
from toolstack.process import ToolstackProcess, toolstack_process

FOREIGN: Final = "foreign"
"""The scheme of toolstacks that somebody else starts, in any language (docs/protocol.md)."""
ACCESS_FILE: Final = "toolstack-access.json"
READY_SECONDS: Final = 60.0
"""Real seconds for a toolstack to enlist."""
FAREWELL_SECONDS: Final = 20.0
"""Real seconds for the toolstacks to put back what they changed."""
LOOK_MS: Final = 20
"""Longest real wait between two looks at the order socket."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a toolstack needs to take part."""

    endpoint: str
    control_secret: bytes
    orders_endpoint: str
    orders_secret: bytes


def write_access(folder: Path, access: Access, speed: float, builder: str) -> Path:
    """Leave everything a foreign toolstack must know in a file only its owner can read; where it is."""
    path = folder / ACCESS_FILE
    known = {
        "endpoint": access.endpoint,
        "control_secret": access.control_secret.hex(),
        "orders_endpoint": access.orders_endpoint,
        "orders_secret": access.orders_secret.hex(),
        "speed": speed,
        "builder": builder,
    }
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(known, file, indent=2)
    partial.replace(path)
    return path


@dataclass(slots=True)
class Toolstacks:
    """Everyone who takes launch orders in one run on one host."""

    scenario: Scenario
    scheme: str
    repeat: int
    classes: Mapping[str, type[Scheme]]
    """Schemes handed over as classes, by name: those of a notebook or `__main__`."""
    folder: Path
    crew: Crew
    epoch: SharedEpoch
    say: Callable[[str], None]
    rules: Rules
    cells: Cells
    _members: list[Member] = field(default_factory=list[Member])
    _access: Access | None = None

    def start(self, access: Access, desk: Desk) -> Iterator[News]:
        """Start them and wait until all have enlisted. UsageError when one cannot work."""
        count = self.scenario.toolstack.count * len(schemes_at_once(self.scheme))
        self._access = access
        if FOREIGN in schemes_at_once(self.scheme):
            self._let_in(access)
        ours = [number for number in range(count) if scheme_of(self.scheme, number) != FOREIGN]
        self._members = [self._start_one(number, access) for number in ours]
        deadline = time.monotonic() + READY_SECONDS
        while len(desk.staff) < count:
            yield desk.look(LOOK_MS)
            failed = [member for member in self._members if member.failed]
            if failed or time.monotonic() > deadline:
                reason = failed[0].ending() if failed else f"{len(desk.staff)} of {count} enlisted in time"
                raise UsageError(f"scheme {self.scheme}: {reason}: see {self.folder}")

    def member(self, party: str) -> Member | None:
        """The process of "toolstack-N"; None when there is none of ours."""
        roles = {member.role: member for member in self._members}  # of several the one started last
        return roles.get(party)

    def start_again(self, party: str) -> None:
        """A new process in the place of one that was killed; it enlists when it is up."""
        assert self._access is not None
        lives = sum(member.role == party for member in self._members)
        number = int(party.removeprefix("toolstack-"))
        self._members.append(self._start_one(number, self._access, f"{party}-life-{lives + 1}"))

    def _start_one(self, number: int, access: Access, history: str = "") -> Member:
        role = f"toolstack-{number}"
        table = self.scenario.toolstack
        scheme = scheme_of(self.scheme, number)
        process = ToolstackProcess(
            name=f"{scheme}-{number}",
            scheme=self.classes.get(scheme, scheme),
            parameters=self.scenario.scheme.get(scheme, {}),
            parallel=table.parallel,
            pages_per_second=table.pages_per_second,
            endpoint=access.endpoint,
            control_secret=access.control_secret,
            orders_endpoint=access.orders_endpoint,
            orders_secret=access.orders_secret,
            speed=self.scenario.speed,
            epoch_ns=self.epoch,
            seed=toolstack_seed(self.scenario.seed, self.repeat, number),
            stops=self.rules.parties.get(role),
            cells=self.cells,
            bad_link=real_link(self.scenario, self.repeat, role),
            history=self.folder / f"{history or role}.history",
        )
        return self.crew.start(role, toolstack_process, process)

    def _let_in(self, access: Access) -> None:
        path = write_access(self.folder, access, self.scenario.speed, self.scenario.toolstack.builder)
        self.say(f"  waiting {READY_SECONDS:g} s for a foreign toolstack to enlist: {path}")

    def dismiss(self, desk: Desk) -> Iterator[News]:
        """No more orders; wait for their farewells, and stop who does not leave."""
        desk.dismiss()
        deadline = time.monotonic() + FAREWELL_SECONDS
        while time.monotonic() < deadline:
            yield desk.look(LOOK_MS)
            waiting = [one for one in desk.staff if one.farewell is None and not one.lost]
            if not waiting or (self._members and not any(member.alive for member in self._members)):
                break
        late = [one.name for one in desk.staff if one.farewell is None and not one.lost]
        if late:
            text = f"{', '.join(late)}: no farewell within {FAREWELL_SECONDS:g} s, stopped"
            yield News(complaints=[text])
            for member in self._members:
                self.crew.dismiss(member)
        self.crew.wait_for(self._members)
