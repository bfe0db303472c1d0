"""The pure core in process: what a request costs without any wire."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import msgpack

from benchmarks.figures import Figure, Pair, Plan
from benchmarks.hosts import GUEST_PAGES, RELEASE, ROOM, Identity, host_config
from benchmarks.mix import FIRST_REQUEST, recorded
from hypervisor.core.host import new_host
from hypervisor.core.machine import Machine, run_alone
from hypervisor.core.releases import release
from hypervisor.core.steps import Caller
from hypervisor.public.domctl import CDF_HAP, CDF_HVM, Created, CreateDomain, MaxMem, UnpauseDomain
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.requests import Request
from hypervisor.public.xenstore import StoreWrite, memory_target_path

CONTROL = Caller(0, 1)
DECODER = msgpack.Decoder(Request)
Work = Sequence[tuple[Caller, bytes]]


def machine_with(domains: int, name: str = RELEASE) -> tuple[Machine, list[Identity]]:
    """A machine with running domains like those of `hosts.served`."""
    machine = Machine(new_host(host_config(domains), release(name)))
    return machine, [build(machine) for _ in range(domains)]


def build(machine: Machine, pages: int = GUEST_PAGES) -> Identity:
    """A running HVM domain."""
    created = run_alone(machine, CONTROL, CreateDomain(flags=CDF_HVM | CDF_HAP)).value
    assert isinstance(created, Created)
    domid = created.domid
    run_alone(machine, CONTROL, MaxMem(domid, 4 * (pages + ROOM)))
    run_alone(machine, CONTROL, PopulatePhysmap(domid, ((0, pages >> 9),), 9))
    run_alone(machine, CONTROL, StoreWrite(memory_target_path(domid), str(4 * pages)))
    run_alone(machine, CONTROL, UnpauseDomain(domid))
    run_alone(machine, Caller(domid, created.incarnation), FIRST_REQUEST)
    return Identity(domid, created.incarnation, b"")


def work(identities: Sequence[Identity]) -> list[tuple[Caller, bytes]]:
    """A cycle of every domain, the domains in turns, as (caller, encoded request)."""
    mix = recorded().one_page_each()
    cycles = [mix.cycle(identity, seed=identity.domid) for identity in identities]
    callers = [Caller(identity.domid, identity.incarnation) for identity in identities]
    turns = zip(*cycles, strict=True)
    return [
        (caller, msgpack.encode(request))
        for turn in turns
        for caller, request in zip(callers, turn, strict=True)
    ]


def run_core(machine: Machine, todo: Work) -> None:
    """Decode and carry out, step by step, as the hypervisor process does with one caller under way."""
    decode, submit, step = DECODER.decode, machine.submit, machine.step
    for caller, content in todo:
        operation = submit(caller, decode(content))
        while step(operation).reply is None:
            pass


def bare_function(caller: Caller, request: Request) -> tuple[Caller, Request]:
    """Does nothing with the same arguments."""
    return caller, request


def run_bare(todo: Work) -> None:
    """Decode and call a function."""
    decode = DECODER.decode
    for caller, content in todo:
        bare_function(caller, decode(content))


def cpu_rate(run: Callable[[], None], operations: int) -> float:
    """Operations a second of this process's own time, which other processes do not take from it."""
    before = time.process_time()
    run()
    return operations / (time.process_time() - before)


def core(plan: Plan) -> Iterator[Pair]:
    """Operations a second of the core, and of a function call with the same decoded arguments."""
    machine, identities = machine_with(16)
    todo = work(identities) * int(plan.scaled(20, 1))
    gc.freeze()
    for _ in range(plan.rounds):
        yield (
            cpu_rate(lambda: run_core(machine, todo), len(todo)),
            cpu_rate(lambda: run_bare(todo), len(todo)),
        )
    gc.unfreeze()


FIGURES = (
    Figure(
        "core",
        "the pure core in process, one page each",
        "a bare function call, the same arguments decoded from the same bytes",
        "operations/s",
        0.3,
        core,
    ),
)
