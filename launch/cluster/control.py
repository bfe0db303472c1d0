"""The launcher's own voice on the host: a control-domain connection for setting up and looking round."""

from __future__ import annotations

import os
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from hypervisor.edge import Clock, Identity, run_party
from hypervisor.history import HistoryWriter
from hypervisor.public.domctl import DomainInfo, DomainInfoList, GetDomainInfoList
from hypervisor.public.memory import MaximumRamPage
from hypervisor.public.units import DOMID_DOM0, Seconds
from hypervisor.public.world import World
from toolstack.service import destroy

T = TypeVar("T")
ROUND_TRIPS: Final = 200


class ControlLostError(Exception):
    """The hypervisor did not answer the launcher to the end."""


@dataclass(frozen=True, slots=True)
class Control:
    """Where the toolstacks' socket is, and the secret that opens it."""

    endpoint: str
    secret: bytes
    histories: Path | None = None
    """Folder that gets launcher-<n>.history for each `run`, counted from 1; None: none is kept."""

    def run(self, body: Callable[[World], Awaitable[T]], stop: Callable[[], bool]) -> T:
        """Run one coroutine as the control domain. ControlLostError when `stop()` ended it first."""
        answers: list[T] = []

        async def main(world: World) -> None:
            answers.append(await body(world))

        clock = Clock(1.0, time.monotonic_ns())  # the launcher lives in real time
        identity = Identity(DOMID_DOM0, secrets.randbits(63), self.secret, "launcher")
        run_party(
            main,
            endpoint=self.endpoint,
            identity=identity,
            clock=clock,
            seed=0,
            history=self._history(),
            stop=stop,
        )
        if not answers:
            raise ControlLostError("the hypervisor left before it had answered the launcher")
        return answers[0]

    def _history(self) -> HistoryWriter | None:
        if self.histories is None:
            return None
        number = 1 + len(list(self.histories.glob("launcher-*.history")))
        file = (self.histories / f"launcher-{number}.history").open("xb")
        return HistoryWriter(file, {"pid": os.getpid()}, time.monotonic_ns)


async def list_domains(world: World) -> tuple[DomainInfo, ...]:
    """All domains but dom0."""
    reply = await world.hypercall(GetDomainInfoList(first_domain=DOMID_DOM0 + 1, max_domains=1 << 15))
    return reply.value.domains if isinstance(reply.value, DomainInfoList) else ()


async def destroy_all(world: World) -> None:
    """Every domain but dom0."""
    for domain in await list_domains(world):
        await destroy(world, domain.domid)


async def measure_round_trip(world: World) -> Seconds:
    """Median of real seconds of a hypercall that only reads, nothing else being asked meanwhile."""
    taken: list[float] = []
    for _ in range(ROUND_TRIPS):
        before = time.perf_counter()
        await world.hypercall(MaximumRamPage())
        taken.append(time.perf_counter() - before)
    return statistics.median(taken)
