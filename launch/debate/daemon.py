"""H16: what one change of a domain's tot_pages costs the accountant's daemon, in processor time (P4).

The daemon is the real one: scheme, world, session and wire format. The changes are real, too: the core makes
them, and answers the daemon's requests. Only the socket between the two is left out, so the daemon is made
out better than it is. Processor time rather than real time, so that a busy machine changes little; emulated
time cannot answer the question, for in it nobody's own work takes any.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, run_alone
from hypervisor.core.releases import release
from hypervisor.core.steps import Caller
from hypervisor.public.counterfactual import RingEvent
from hypervisor.public.domctl import Created, CreateDomain, MaxMem
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.protocol import TO_HYPERVISOR, Answer, Call, Notify, Welcome, encode
from hypervisor.public.requests import Request
from hypervisor.public.units import DOMID_ANY, DOMID_DOM0, PAGE_SIZE
from hypervisor.session.client import ClientSession
from hypervisor.session.world import Connection
from hypervisor.tasks import Loop
from launch.debate.settings import settings
from toolstack.interface import CountingWorld
from toolstack.registry import make_scheme

if TYPE_CHECKING:
    from launch.debate.cells import Cell

OWN: Final = (DOMID_DOM0, 1)
"""(domid, incarnation) of the daemon."""
CONTROL: Final = Caller(*OWN)
CHANGES: Final = 16_384
"""Measured at a time."""
CREDITS: Final = 64


def measure(cell: Cell) -> Mapping[str, float]:
    """busy: processors that the daemon needs when guests move x pages a second; us: microseconds a change.

    Settings: `batch` of the accountant; `order` of the extents that guests move, each of them one change.
    """
    found = settings(cell)
    seconds = change_seconds(batch=int(found["batch"]))
    return {"busy": cell.x / (1 << int(found["order"])) * seconds, "us": seconds * 1e6}


def change_seconds(batch: int) -> float:
    """Processor seconds that a change costs the daemon which takes `batch` of them by one reading."""
    desk = Desk(batch)
    desk.serve()  # the books are opened
    desk.move(CHANGES)
    desk.knock()
    desk.spent_ns = 0
    desk.serve()
    return desk.spent_ns / CHANGES / 1e9


class Desk:
    """A core, a daemon, and the frames between them."""

    def __init__(self, batch: int) -> None:
        self._machine = Machine(new_host(HostConfig((8 * CHANGES,), 0, 0), release("4.17")))
        self._loop = Loop()
        self._session = ClientSession()
        self._connection = Connection(self._loop, self._session, lambda: 0.0)
        self._frames: deque[bytes] = deque()
        self.spent_ns = 0
        """Of the daemon's own processor time."""
        scheme = make_scheme("accountant", {"ring_size": 1 << 20, "batch": batch})
        world = self._connection.world(*OWN, b"", Random(0))
        self._loop.spawn(scheme.serve(CountingWorld(world)), "accountant")
        self._deliver(encode(Welcome(*OWN, "4.17", CREDITS, 0)))

    def move(self, changes: int) -> None:
        """A domain takes that many pages, one by one."""
        created = self._ask(CreateDomain(DOMID_ANY, 0, 1)).value
        assert isinstance(created, Created)
        self._ask(MaxMem(created.domid, 2 * changes * PAGE_SIZE >> 10))
        done = self._ask(PopulatePhysmap(created.domid, ((0, changes),)))
        assert done.ret == changes, "H16: the host is too small for its own measurement"

    def knock(self) -> None:
        """The ring is not empty any more."""
        self._deliver(encode(Notify(*OWN, RingEvent(self._machine.commit))))

    def serve(self) -> None:
        """Answer the daemon until it asks nothing more."""
        self._daemon()
        while self._frames:
            call = TO_HYPERVISOR.decode(self._frames.popleft())
            if isinstance(call, Call):
                replies = tuple(self._ask(request) for request in call.requests)
                self._deliver(encode(Answer(call.domid, call.incarnation, call.seq, replies)))
                self._daemon()

    def _ask(self, request: Request) -> Any:
        return run_alone(self._machine, CONTROL, request)

    def _deliver(self, frame: bytes) -> None:
        before = time.process_time_ns()
        self._connection.receive(frame)
        self.spent_ns += time.process_time_ns() - before

    def _daemon(self) -> None:
        """It does what it can do now, and says what it wants next."""
        before = time.process_time_ns()
        self._loop.run_ready(0.0)
        frames = self._session.outgoing()
        self.spent_ns += time.process_time_ns() - before
        self._frames.extend(frames)
