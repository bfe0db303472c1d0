"""The explorer against Hypothesis's rule-based state machine: checked steps of a small world."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from benchmarks.figures import Figure, Pair, Plan
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.invariants import check
from hypervisor.core.machine import Machine, Operation, run_alone
from hypervisor.core.releases import release
from hypervisor.core.steps import Caller
from hypervisor.public.domctl import CDF_HVM, CreateDomain, MaxMem, UnpauseDomain
from hypervisor.public.memory import ClaimPages, DecreaseReservation, PopulatePhysmap
from hypervisor.public.requests import Request
from launch.explore.options import asked, choose_scheduler
from launch.explore.search import Budget, explore

WORLD = "toctou"
SCHEME = "naive"
SECONDS = 3.0
CONTROL = Caller(0, 0)
DOMAINS = (1, 2, 3)


def explored(seconds: float) -> float:
    """Moves a second of an exhaustive search, every invariant looked at after each."""
    found = explore(
        asked(WORLD, SCHEME, ()).blueprint(),
        choose_scheduler("random", 1, 3, None).scheduler,
        Budget(seconds=seconds),
        to_the_end=True,
    )
    return found.steps / found.seconds


def small_machine() -> Machine:
    """Three domains on a host of 16 MiB."""
    machine = Machine(new_host(HostConfig((4096,), dom0_pages=16, xen_pages=16), release("4.17")))
    for domid in DOMAINS:
        for request in (CreateDomain(domid, CDF_HVM), MaxMem(domid, 4 * 1024), UnpauseDomain(domid)):
            run_alone(machine, CONTROL, request)
    return machine


def state_machine(counted: list[int]) -> Any:
    """Requests by three domains and a toolstack, stepped in any order, all invariants after every step."""

    class SmallWorld(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.machine = small_machine()
            self.under_way: list[Operation] = []

        def submit(self, caller: Caller, request: Request) -> None:
            self.under_way.append(self.machine.submit(caller, request))

        @rule(domid=strategies.sampled_from(DOMAINS), pages=strategies.integers(1, 8))
        def populate(self, domid: int, pages: int) -> None:
            self.submit(CONTROL, PopulatePhysmap(domid, ((0, pages),)))

        @rule(domid=strategies.sampled_from(DOMAINS), pages=strategies.integers(1, 8))
        def decrease(self, domid: int, pages: int) -> None:
            self.submit(CONTROL, DecreaseReservation(domid, ((0, pages),)))

        @rule(domid=strategies.sampled_from(DOMAINS), pages=strategies.integers(0, 64))
        def claim(self, domid: int, pages: int) -> None:
            self.submit(CONTROL, ClaimPages(domid, pages))

        @rule(choice=strategies.integers(0, 7))
        def advance(self, choice: int) -> None:
            runnable = [one for one in self.under_way if self.machine.is_runnable(one)]
            if not runnable:
                return
            operation = runnable[choice % len(runnable)]
            if self.machine.step(operation).reply is not None:
                self.under_way.remove(operation)
            pending = [one.pending for one in self.under_way if one.pending is not None]
            assert not list(check(self.machine.host, pending))
            counted[0] += 1

    return SmallWorld


def hypothesised(examples: int) -> float:
    """Checked steps a second of Hypothesis's state machine."""
    counted = [0]
    begun = time.perf_counter()
    settings = hypothesis_settings(
        max_examples=examples, stateful_step_count=50, deadline=None, database=None, derandomize=True
    )
    run_state_machine_as_test(state_machine(counted), settings=settings)
    return counted[0] / (time.perf_counter() - begun)


def explorer(plan: Plan) -> Iterator[Pair]:
    """Both in turns."""
    for _ in range(plan.rounds):
        yield explored(plan.scaled(SECONDS, 0.3)), hypothesised(int(plan.scaled(100, 5)))


FIGURES = (
    Figure(
        "explorer",
        f"explorer, checked steps of the world {WORLD}",
        "Hypothesis's rule-based state machine on the same core, 3 domains",
        "steps/s",
        50,
        explorer,
    ),
)
