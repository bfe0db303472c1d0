"""A small host of its own for one foreign toolstack: hypervisor, order desk, and the program under trial."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from hypervisor.core.host import HostConfig
from hypervisor.edge import Clock, Identity, run_party
from hypervisor.process import ServeConfig, serve_process
from hypervisor.public.domctl import DomainInfo
from hypervisor.public.memory import CurrentReservation
from hypervisor.public.orders import DestroyOrder, LaunchOrder, Outcome
from hypervisor.public.units import PAGES_PER_MIB, Pages
from hypervisor.public.world import IndefiniteError, RefusedByWireError, World
from hypervisor.transport import Server, ipc_endpoints
from launch.cluster.control import Control, ControlLostError
from launch.cluster.crew import Crew, Member
from launch.cluster.desk import ROLE, Desk, Enlisted, News
from launch.cluster.toolstacks import Access, write_access
from launch.errors import UsageError
from launch.kit.bystander import settle

T = TypeVar("T")

RAM: Final[Pages] = 256 * PAGES_PER_MIB
DOM0: Final[Pages] = 16 * PAGES_PER_MIB
XEN: Final[Pages] = 8 * PAGES_PER_MIB
SPEED: Final = 1000.0
"""Emulated seconds in a real one: nobody paces a build here."""
LOOK_MS: Final = 20
READY_SECONDS: Final = 30.0
LEASE_MS: Final = 2000


@dataclass(frozen=True, slots=True)
class Setting:
    """What is tried, and on what."""

    command: Sequence[str]
    """Program and arguments; the path of the access file is added as the last one."""
    release: str
    builder: str
    patience: float
    """Real seconds for one answer."""


@dataclass(slots=True)
class Heard:
    """Everything the toolstack has said so far."""

    outcomes: dict[int, list[Outcome]] = field(default_factory=dict[int, list[Outcome]])
    """By order, as they came."""
    complaints: list[str] = field(default_factory=list[str])
    enlisted: list[Enlisted] = field(default_factory=list[Enlisted])
    farewells: list[Enlisted] = field(default_factory=list[Enlisted])

    def take(self, news: News) -> None:
        """Add what one look brought."""
        for _, outcome in news.outcomes:
            self.outcomes.setdefault(outcome.order, []).append(outcome)
        self.complaints += news.complaints
        self.enlisted += news.enlisted
        self.farewells += news.farewells


class Stage:
    """Hypervisor, desk and program. A context manager: leaving it leaves nothing behind."""

    def __init__(
        self, setting: Setting, folder: Path, sockets: Path, record: Callable[[str, int], None]
    ) -> None:
        """`folder` keeps logs and the journal, `sockets` (short path) the sockets. Nothing is started yet."""
        self.setting = setting
        self.heard = Heard()
        self.log = folder / "toolstack.log"
        self.stats = folder / "hypervisor.json"
        self._folder = folder
        self._endpoints = ipc_endpoints(sockets, ("guests", "toolstacks"))
        self._server = Server(ipc_endpoints(sockets, (ROLE,)))
        self._orders_secret = secrets.token_bytes(32)
        self._control_secret = secrets.token_bytes(32)
        self._desk = Desk(self._server, self._orders_secret)
        self._crew = Crew(folder, record)
        self._record = record
        self._program: subprocess.Popen[bytes] | None = None
        self._orders = 0
        self._hypervisor: Member | None = None
        self.bystander: DomainInfo | None = None
        """On the host before the program, and none of its business."""

    # ---- coming and going

    def __enter__(self) -> Self:
        try:
            self._crew.__enter__()
            self._start_hypervisor()
            self.bystander = self.ask(settle)
            self._start_program()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_program()
        self._crew.__exit__(kind, error, trace)
        self._server.close()

    def _start_hypervisor(self) -> None:
        ready = self._folder / "hypervisor-ready.json"
        config = ServeConfig(
            host=HostConfig((RAM,), dom0_pages=DOM0, xen_pages=XEN),
            release=self.setting.release,
            endpoints=self._endpoints,
            host_key=secrets.token_bytes(32),
            control_secret=self._control_secret,
            journal=self._folder / "journal.msgpack",
            ready=ready,
            stats=self.stats,
            lease_ms=LEASE_MS,
        )
        self._hypervisor = self._crew.start("hypervisor", serve_process, config)
        deadline = time.monotonic() + READY_SECONDS
        while not ready.exists():
            if not self._hypervisor.alive or time.monotonic() > deadline:
                raise UsageError(f"the hypervisor did not come up: see {self._hypervisor.log}")
            time.sleep(LOOK_MS / 1000)

    def _start_program(self) -> None:
        path = write_access(self._folder, self._access(), SPEED, self.setting.builder)
        command = [*self.setting.command, str(path)]
        with self.log.open("wb") as log:
            try:
                self._program = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as error:
                text = f"{command[0]}: {error.strerror}: name a program that can be started"
                raise UsageError(text) from error
        self._record("toolstack", self._program.pid)

    def _access(self) -> Access:
        orders = self._server.endpoints[ROLE]
        return Access(self._endpoints["toolstacks"], self._control_secret, orders, self._orders_secret)

    def _stop_program(self) -> None:
        """A wrapper's children go with it, also when it has ended: the program leads a session of its own."""
        if self._program is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + self.setting.patience
            while self._signalled(self._program, number):
                if time.monotonic() > deadline:
                    break
                time.sleep(LOOK_MS / 1000)

    def _signalled(self, program: subprocess.Popen[bytes], number: int) -> bool:
        """False when nobody of its group is left. A group's number is not given anew while it has members."""
        program.poll()
        try:
            os.killpg(program.pid, number)
        except ProcessLookupError:
            return False
        return True

    def close_hypervisor(self) -> None:
        """Have it close its books: `stats` is there afterwards."""
        assert self._hypervisor is not None
        self._crew.dismiss(self._hypervisor)
        self._crew.wait_for([self._hypervisor])

    # ---- the program

    @property
    def ended(self) -> int | None:
        """Its exit code, once it has ended."""
        return None if self._program is None else self._program.poll()

    def until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Hear what comes until the condition holds; False when patience, or the program, ended first."""
        deadline = time.monotonic() + (self.setting.patience if seconds is None else seconds)
        while not condition():
            over = self.ended is not None or time.monotonic() > deadline
            self.heard.take(self._desk.look(LOOK_MS))
            if over:
                return condition()
        return True

    def launch(self, pages: Pages) -> LaunchOrder:
        """Order a domain."""
        self._orders += 1
        order = LaunchOrder(order=self._orders, pages=pages, max_pages=pages, builder=self.setting.builder)
        self._desk.launch(order)
        return order

    def destroy(self, order: LaunchOrder, outcome: Outcome) -> None:
        """Have the domain of an earlier order destroyed."""
        self._desk.destroy(DestroyOrder(order.order, outcome.domid))

    def dismiss(self) -> None:
        """No more orders."""
        self._desk.dismiss()

    # ---- the truth

    def ask(self, body: Callable[[World], Awaitable[T]]) -> T:
        """Run a coroutine as the control domain."""
        hypervisor = self._hypervisor
        assert hypervisor is not None
        control = Control(self._endpoints["toolstacks"], self._control_secret)
        try:
            return control.run(body, lambda: not hypervisor.alive)
        except (ControlLostError, RefusedByWireError, IndefiniteError) as error:
            raise UsageError(f"the hypervisor is lost: {error}: see {hypervisor.log}") from error

    def may_speak(self, outcome: Outcome) -> bool:
        """True when the secret of a built domain lets its guest in."""

        deadline = time.monotonic() + self.setting.patience

        async def main(world: World) -> None:
            await world.hypercall(CurrentReservation(outcome.domid))

        identity = Identity(outcome.domid, outcome.incarnation, outcome.secret, "a guest")
        try:
            return run_party(
                main,
                endpoint=self._endpoints["guests"],
                identity=identity,
                clock=Clock(1.0, time.monotonic_ns()),
                seed=0,
                stop=lambda: time.monotonic() > deadline,  # a paused domain's call is never answered
            )
        except RefusedByWireError:
            return False
