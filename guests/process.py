"""A process that carries guests: it connects them, runs their kernels, and leaves their reports."""

import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec.structs import replace

from guests.behaviours import BehaviourFactory
from guests.config import GuestConfig
from guests.errors import GuestConfigError
from guests.kernel.kernel import GuestKernel
from guests.report import GuestReport
from guests.traces.errors import TraceError
from hypervisor.edge import (
    Clock,
    Edge,
    Identity,
    SharedEpoch,
    descriptor_of_signals,
    hang_stops,
    stop_on_sigterm,
)
from hypervisor.history import HistoryWriter
from hypervisor.public.points import Cells, PartyRules
from hypervisor.public.world import World
from hypervisor.session.bad_link import BadLinkSpec
from hypervisor.transport import EndpointError

FAREWELL_SECONDS: Final = 5.0
"""Real seconds for stopped kernels to return; they only have to be resumed once."""


@dataclass(frozen=True, kw_only=True)
class GuestProcess:
    """What a process of guests is told at start."""

    endpoint: str
    """Where the hypervisor takes its guests' calls."""
    speed: float
    """Emulated seconds per real second."""
    epoch_ns: int | SharedEpoch
    """The moment of CLOCK_MONOTONIC at which emulated time is 0; shared, it may be yet to come."""
    guests: tuple[GuestConfig, ...]
    reports: Path
    """Directory that gets one `<guest name>.json` per guest, always whole."""
    report_every: float = 2.0
    """Real seconds between the reports of a running guest: what is left of one that is killed."""
    patience: float = 1.0
    """How many times as long as usual between pings and between looks for the beginning of time: where a
    thousand processes share a few processors, getting up for nothing is most of what they do."""
    stops: Mapping[str, PartyRules] = field(default_factory=dict[str, PartyRules])
    """What the run wants of its guests at their points, by guest name."""
    cells: Cells | None = None
    """Shared with the launcher; needed with `stops`."""
    bad_link: BadLinkSpec | None = None
    """What its Calls and their answers suffer."""
    history: Path | None = None
    """File for the invocations and returns of this process's calls; it must not be there yet."""


def report_path(reports: Path, name: str) -> Path:
    """Where the guest called `name` leaves its report."""
    return reports / f"{name}.json"


def read_reports(reports: Path) -> tuple[GuestReport, ...]:
    """All reports in a directory, by domid and incarnation; raises msgspec.DecodeError for a foreign file."""
    found = [
        msgspec.json.decode(file.read_bytes(), type=GuestReport) for file in reports.glob("guest-*.json")
    ]
    return tuple(sorted(found, key=lambda report: (report.domid, report.incarnation)))


def write_report(reports: Path, name: str, report: GuestReport) -> None:
    """Leave a report that is either the old one or the new one, never half of it."""
    path = report_path(reports, name)
    partial_path = path.with_suffix(".partial")
    partial_path.write_bytes(msgspec.json.encode(report) + b"\n")
    partial_path.replace(path)


def run_guests(
    process: GuestProcess,
    behaviours: Mapping[str, BehaviourFactory] = MappingProxyType({}),
    stop: Callable[[], bool] = lambda: False,
    stop_descriptor: int | None = None,
) -> bool:
    """Run all the guests of one process and leave their reports.

    `stop_descriptor` can be read once `stop()` is true; without it `stop` is asked ten times a second.
    True when every guest came to its own end, False when stopped. Raises `GuestConfigError`, `TraceError`
    and `EndpointError` for what cannot be started, and what a kernel raised that no guest can cause.
    """
    clock = Clock(process.speed, process.epoch_ns)
    edge = Edge(process.endpoint, clock, _history(process), process.bad_link, process.patience)
    carrier = _Carrier(process, behaviours, edge)
    if stop_descriptor is not None:
        edge.wake_on(stop_descriptor)
    try:
        for config in process.guests:
            carrier.add(edge, config)
        ended = edge.run(lambda: stop() or carrier.report_when_due())
        if not ended:
            carrier.stop_all()
            deadline = time.monotonic() + FAREWELL_SECONDS
            edge.run(lambda: time.monotonic() > deadline)
        return ended
    finally:
        carrier.report_all()
        edge.close()


def _history(process: GuestProcess) -> HistoryWriter | None:
    if process.history is None:
        return None
    header = {"pid": os.getpid(), "guests": [config.name for config in process.guests]}
    return HistoryWriter(process.history.open("xb"), header, time.monotonic_ns)


class _Carrier:
    """The kernels of one process, and when they were last reported."""

    def __init__(self, process: GuestProcess, behaviours: Mapping[str, BehaviourFactory], edge: Edge) -> None:
        self._process = process
        self._edge = edge
        self._behaviours = behaviours
        self._kernels: dict[str, GuestKernel] = {}
        self._next_report = 0.0

    def add(self, edge: Edge, config: GuestConfig) -> None:
        """Connect a guest and boot it."""
        identity = Identity(config.domid, config.incarnation, config.secret, config.name)
        world = edge.world(identity, random.Random(config.seed))
        rules = self._process.stops.get(config.name)
        if rules is not None and self._process.cells is not None:
            hang_stops(world, rules, self._process.cells, self._process.speed)
        kernel = GuestKernel(world, config, behaviours=self._behaviours)
        self._kernels[config.name] = kernel
        edge.start(partial(self._live, config.name, kernel), world, config.name)

    async def _live(self, name: str, kernel: GuestKernel, _world: World) -> None:
        """Its report is there as soon as it has ended, not when its whole process has."""
        await kernel.run()
        self._write(name, kernel)

    def report_when_due(self) -> bool:
        """Write the reports if it is time; never a reason to stop."""
        now = time.monotonic()
        if now >= self._next_report:
            self._next_report = now + self._process.report_every
            self.report_all()
        return False

    def report_all(self) -> None:
        """Write every guest's report as it is now."""
        for name, kernel in self._kernels.items():
            self._write(name, kernel)

    def _write(self, name: str, kernel: GuestKernel) -> None:
        lag = self._edge.lag.lag()
        report = replace(kernel.report(), lag_p99_s=lag.p99_s, lag_max_s=lag.max_s)
        write_report(self._process.reports, name, report)

    def stop_all(self) -> None:
        """End every guest that has not ended."""
        for kernel in self._kernels.values():
            kernel.stop()


def guests_process(
    process: GuestProcess, behaviours: Mapping[str, BehaviourFactory] = MappingProxyType({})
) -> None:
    """Main function of a process of guests: SIGTERM has it report and leave. SIGINT is the launcher's.

    Exits with 2 and one line on standard error for a guest that cannot be.
    """
    stop = stop_on_sigterm()
    try:
        run_guests(process, behaviours, stop, descriptor_of_signals())
    except (GuestConfigError, TraceError, EndpointError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
