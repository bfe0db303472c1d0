"""A toolstack's process: one connection to the hypervisor, one to whoever gives the orders."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hypervisor.edge import Channel, Clock, Edge, Identity, SharedEpoch, hang_stops, stop_on_sigterm
from hypervisor.history import HistoryWriter
from hypervisor.public.orders import TO_TOOLSTACK, Enlist, FromToolstack, Outcome, ToToolstack
from hypervisor.public.points import Cells, PartyRules
from hypervisor.public.units import DOMID_DOM0, Seconds
from hypervisor.public.world import World
from hypervisor.session.bad_link import BadLinkSpec
from hypervisor.transport import EndpointError
from toolstack.interface import Scheme
from toolstack.registry import SchemeError, make_scheme
from toolstack.service import Service

LOOK_SECONDS: Seconds = 0.02
"""Real seconds between looks at whether a dismissed toolstack has put everything back."""

FAREWELL_SECONDS: Seconds = 0.1
"""Real seconds for the farewell to leave: closing a socket drops what it still holds."""


@dataclass(frozen=True, kw_only=True)
class ToolstackProcess:
    """What a toolstack process is told at start."""

    name: str
    scheme: str | type[Scheme]
    """A name of the registry, `module:Class`, or the class itself (also one defined in a notebook)."""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parallel: int = 4
    pages_per_second: float = 20_000.0
    endpoint: str
    """The hypervisor's socket for toolstacks."""
    control_secret: bytes
    orders_endpoint: str
    orders_secret: bytes
    speed: float
    """Emulated seconds per real second."""
    epoch_ns: int | SharedEpoch
    """The moment of CLOCK_MONOTONIC at which emulated time is 0; shared, it may be yet to come."""
    seed: str = ""
    stops: PartyRules | None = None
    """What the run wants of it at its points."""
    cells: Cells | None = None
    """Shared with the launcher; needed with `stops`."""
    bad_link: BadLinkSpec | None = None
    """What its Calls and their answers suffer."""
    history: Path | None = None


def run_toolstack(process: ToolstackProcess, stop: Callable[[], bool] = lambda: False) -> None:
    """Serve orders until dismissed, or until `stop()`. Raises `SchemeError` and `EndpointError`."""
    scheme = _scheme(process)
    edge = Edge(process.endpoint, Clock(process.speed, process.epoch_ns), _history(process), process.bad_link)
    try:
        rng = random.Random(process.seed)
        identity = Identity(DOMID_DOM0, _own_incarnation(), process.control_secret, process.name)
        world = edge.world(identity, rng)
        if process.stops is not None and process.cells is not None:
            hang_stops(world, process.stops, process.cells, process.speed)
        desk = _Desk()
        desk.open(edge, process)
        service = Service(
            world,
            scheme,
            desk.report,
            parallel=process.parallel,
            pages_per_second=process.pages_per_second,
        )
        desk.service = service
        desk.send(Enlist(process.name, process.orders_secret, os.getpid()))
        pause = LOOK_SECONDS * process.speed

        async def until_finished(world: World) -> None:
            while not service.finished:
                await world.sleep(pause)
            desk.send(msgspec.structs.replace(service.farewell(), lag=edge.lag.lag()))
            await world.sleep(FAREWELL_SECONDS * process.speed)

        edge.start(until_finished, world, process.name)
        edge.run(stop)
    finally:
        edge.close()


class _Desk:
    """The order socket as the service sees it."""

    def __init__(self) -> None:
        self.service: Service | None = None
        self._channel: Channel | None = None

    def open(self, edge: Edge, process: ToolstackProcess) -> None:
        """Connect."""
        self._channel = edge.attach(process.orders_endpoint, self._arrived)

    def send(self, message: FromToolstack) -> None:
        """Queue one message."""
        assert self._channel is not None
        self._channel.send(msgspec.msgpack.encode(message))

    def report(self, outcome: Outcome) -> None:
        """Tell the launcher what became of an order so far."""
        self.send(outcome)

    def _arrived(self, frame: bytes) -> None:
        assert self.service is not None
        try:
            order: ToToolstack = TO_TOOLSTACK.decode(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            print(f"not an order of orders.py, and left alone: {error}", file=sys.stderr)
        else:
            self.service.take(order)


def _scheme(process: ToolstackProcess) -> Scheme:
    if isinstance(process.scheme, str):
        return make_scheme(process.scheme, process.parameters)
    return process.scheme(process.parameters)


def _own_incarnation() -> int:
    """Names this toolstack among others: pid and start, unlike any earlier one on this machine."""
    return (time.monotonic_ns() << 22 | os.getpid() & 0x3FFFFF) & 0x7FFF_FFFF_FFFF_FFFF


def _history(process: ToolstackProcess) -> HistoryWriter | None:
    if process.history is None:
        return None
    header = {"pid": os.getpid(), "toolstack": process.name}
    return HistoryWriter(process.history.open("xb"), header, time.monotonic_ns)


def toolstack_process(process: ToolstackProcess) -> None:
    """Main function of a toolstack process. SIGTERM ends it where it stands; SIGINT is the launcher's.

    Exits with 2 and one line on standard error for a scheme or an address that cannot be.
    """
    try:
        run_toolstack(process, stop_on_sigterm())
    except (SchemeError, EndpointError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
