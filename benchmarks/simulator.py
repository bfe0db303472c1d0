"""The simulator against the same model written for SimPy: same guests, same machine, same turns."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import simpy

from benchmarks.core import cpu_rate, machine_with
from benchmarks.figures import Figure, Pair, Plan
from benchmarks.hosts import Identity
from benchmarks.mix import recorded
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.steps import Caller
from hypervisor.public.requests import Request
from hypervisor.public.world import World
from launch.simulate.world import Simulator

GUESTS = 16
SLEEP_EVERY = 8
"""Hypercalls between two sleeps of a guest."""
SLEEP_SECONDS = 0.01


def simulate(machine: Machine, identities: list[Identity], cycles: dict[int, list[Request]]) -> None:
    """Every guest runs its cycle once in `launch.simulate`, as `claimlab simulate` does."""
    simulator = Simulator(machine, batch=True)
    for identity in identities:
        world = simulator.world(identity.domid, identity.incarnation, random.Random(identity.domid))
        simulator.start(lambda world: guest(world, cycles[world.domid]), world, f"guest {identity.domid}")
    simulator.run()


async def guest(world: World, cycle: list[Request]) -> None:
    """One hypercall after the other, sleeping now and then."""
    for number, request in enumerate(cycle):
        await world.hypercall(request)
        if number % SLEEP_EVERY == 0:
            await world.sleep(SLEEP_SECONDS)


def simulate_in_simpy(machine: Machine, identities: list[Identity], cycles: dict[int, list[Request]]) -> None:
    """The same: a hypervisor that gives every operation one step in turn, guests that wait for replies."""
    environment = simpy.Environment()
    hypervisor = SimpyHypervisor(environment, machine)
    for identity in identities:
        environment.process(simpy_guest(environment, hypervisor, identity, cycles[identity.domid]))
    environment.run()


class SimpyHypervisor:
    """Operations under way, in turns; between two steps every process that can move does."""

    def __init__(self, environment: Any, machine: Machine) -> None:
        self._environment = environment
        self._machine = machine
        self._waiting: deque[tuple[Operation, Any]] = deque()
        self._work = environment.event()
        environment.process(self._run())

    def hypercall(self, caller: Caller, request: Request) -> Any:
        """An event that succeeds with the reply."""
        done = self._environment.event()
        self._waiting.append((self._machine.submit(caller, request), done))
        if not self._work.triggered:
            self._work.succeed()
        return done

    def _run(self) -> Generator[Any, Any, None]:
        while True:
            if not self._waiting:
                self._work = self._environment.event()
                yield self._work
            operation, done = self._waiting.popleft()
            if self._machine.is_runnable(operation):
                reply = self._machine.step(operation).reply
                if reply is not None:
                    done.succeed(reply)
                    yield self._environment.timeout(0)
                    continue
            self._waiting.append((operation, done))
            yield self._environment.timeout(0)


def simpy_guest(
    environment: Any, hypervisor: SimpyHypervisor, identity: Identity, cycle: list[Request]
) -> Generator[Any, Any, None]:
    """`guest` as a SimPy process."""
    caller = Caller(identity.domid, identity.incarnation)
    for number, request in enumerate(cycle):
        yield hypervisor.hypercall(caller, request)
        if number % SLEEP_EVERY == 0:
            yield environment.timeout(SLEEP_SECONDS)


def simulator(plan: Plan) -> Iterator[Pair]:
    """Hypercalls a second of the simulator and of SimPy."""
    mix = recorded().one_page_each()
    repeats = int(plan.scaled(10, 1))
    machine, identities = machine_with(GUESTS)
    cycles = {one.domid: mix.cycle(one, seed=one.domid) * repeats for one in identities}
    calls = sum(map(len, cycles.values()))
    for _ in range(plan.rounds):
        yield (
            cpu_rate(lambda: simulate(machine, identities, cycles), calls),
            cpu_rate(lambda: simulate_in_simpy(machine, identities, cycles), calls),
        )


FIGURES = (
    Figure(
        "simulator",
        f"the simulator, {GUESTS} guests, hypercalls",
        "the same model on SimPy",
        "calls/s",
        1.1,
        simulator,
    ),
)
