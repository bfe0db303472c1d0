"""Processes of guests, for tests of the hypervisor's process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hypervisor.edge import Clock, Identity, run_party
from hypervisor.history import HistoryWriter
from hypervisor.public.domctl import Created, DomainInfo, GetDomainInfo
from hypervisor.public.memory import CurrentReservation, DecreaseReservation, PopulatePhysmap
from hypervisor.public.units import DOMID_SELF
from hypervisor.public.world import World
from tests.running_hypervisor import PATIENCE, ToolstackPeer, context


def info(toolstack: ToolstackPeer, domid: int) -> DomainInfo:
    value = toolstack.control(GetDomainInfo(domid)).value
    assert isinstance(value, DomainInfo)
    return value


async def churn(world: World) -> None:
    """Give pages back and take them again, several calls in flight."""
    for _ in range(50):
        first = world.rng.randrange(0, 900)
        extents = ((first, 64),)
        down = world.hypercall(DecreaseReservation(DOMID_SELF, extents))
        up = world.hypercall(PopulatePhysmap(DOMID_SELF, extents))
        assert (await down).ret >= 0 and (await up).ret >= 0
        await world.multicall((CurrentReservation(DOMID_SELF), PopulatePhysmap(DOMID_SELF, extents)))
        await world.sleep(1.0)


def guest_process(endpoint: str, created: Created, seed: int, history: Path | None) -> None:
    """Main function of a guest's process."""
    identity = Identity(created.domid, created.incarnation, created.secret, f"guest {seed}")
    sink = None
    if history is not None:
        sink = HistoryWriter(history.open("xb"), {"party": identity.name}, time.monotonic_ns)
    clock = Clock(10_000.0, time.monotonic_ns())
    run_party(churn, endpoint=endpoint, identity=identity, clock=clock, seed=seed, history=sink)


async def forever(world: World) -> None:
    while True:
        await world.hypercall(CurrentReservation(DOMID_SELF))


def busy_process(endpoint: str, created: Created) -> None:
    """A guest that never ends by itself."""
    identity = Identity(created.domid, created.incarnation, created.secret)
    run_party(forever, endpoint=endpoint, identity=identity, clock=Clock(1.0, 0), seed=1)


def start(main: Any, *args: Any) -> Any:
    process = context.Process(target=main, args=args, daemon=True)
    process.start()
    return process


def joined(process: Any) -> int | None:
    process.join(PATIENCE)
    code: int | None = process.exitcode
    return code
