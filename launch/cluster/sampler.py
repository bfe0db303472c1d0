"""Asking a host now and then how much memory is free, for placement policies that want to know."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hypervisor.edge import Clock, Identity, run_party, stop_on_sigterm
from hypervisor.history import HistoryWriter
from hypervisor.public.domctl import PhysicalInfo, Physinfo
from hypervisor.public.points import Cells
from hypervisor.public.units import DOMID_DOM0, Pages, Seconds
from hypervisor.public.world import IndefiniteError, World
from launch.cluster.control import Control
from launch.cluster.crew import Crew, Member

ROLE: Final = "sampler"
NOT_YET: Final = -1
"""What the cell holds before the first answer."""


async def sample(world: World, period: Seconds, tell: Callable[[Pages], None]) -> None:
    """Ask for ever, `period` emulated seconds after each answer; `tell` gets free memory beside claims."""
    while True:
        host = (await world.hypercall(Physinfo())).value
        if isinstance(host, PhysicalInfo):
            tell(max(0, host.free_pages - host.outstanding_pages))
        await world.sleep(period)


@dataclass(frozen=True, slots=True)
class SamplerProcess:
    """What the process is told at start."""

    endpoint: str
    control_secret: bytes
    clock: Clock
    period: Seconds
    cell: Cells
    """One number: the last answer."""
    history: Path


def sampler_process(process: SamplerProcess) -> None:
    """Main function of the process: ask until SIGTERM, or until the hypervisor is gone."""

    def tell(pages: Pages) -> None:
        process.cell[0] = pages

    async def main(world: World) -> None:
        try:
            await sample(world, process.period, tell)
        except IndefiniteError:
            return  # the hypervisor's end is told by itself

    run_party(
        main,
        endpoint=process.endpoint,
        identity=Identity(DOMID_DOM0, secrets.randbits(63), process.control_secret, ROLE),
        clock=process.clock,
        seed=0,
        history=HistoryWriter(process.history.open("xb"), {"pid": os.getpid()}, time.monotonic_ns),
        stop=stop_on_sigterm(),
    )


class Sampler:
    """The process as the launcher sees it."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._cell = crew.shared_cells(1)
        self._cell[0] = NOT_YET
        self.members: list[Member] = []
        """The process, once it was started."""

    def start(self, control: Control, clock: Clock, period: Seconds) -> Member:
        """Begin to ask; the history goes where the launcher's do."""
        assert control.histories is not None
        process = SamplerProcess(
            endpoint=control.endpoint,
            control_secret=control.secret,
            clock=clock,
            period=period,
            cell=self._cell,
            history=control.histories / f"{ROLE}.history",
        )
        self.members.append(self._crew.start(ROLE, sampler_process, process))
        return self.members[-1]

    @property
    def has_answer(self) -> bool:
        """True once the host has answered."""
        return self._cell[0] != NOT_YET

    @property
    def free_pages(self) -> Pages:
        """Free memory beside claims, as the host answered when it was last asked."""
        return max(0, self._cell[0])
