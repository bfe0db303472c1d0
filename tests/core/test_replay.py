"""Determinism: the same requests stepped in the same order give the same replies, events and states."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.releases import RELEASES, release
from hypervisor.core.steps import Caller, Emission, Step
from hypervisor.public.domctl import CDF_HVM, CreateDomain, MaxMem, UnpauseDomain
from hypervisor.public.memory import IncreaseReservation, PopulatePhysmap
from hypervisor.public.requests import Reply, Request
from tests.core.requests_for_small_host import CALLERS, REQUESTS

CONTROL = Caller(0, 0)
PREPARED: tuple[Request, ...] = (
    CreateDomain(1, CDF_HVM),
    CreateDomain(2),
    *(MaxMem(domid, 4 * 900) for domid in (1, 2)),
    *(UnpauseDomain(domid) for domid in (1, 2)),
    PopulatePhysmap(1, ((0, 40),)),
    IncreaseReservation(2, 40),
)


@dataclass(frozen=True)
class Commit:
    """What one atomic step showed to anybody."""

    number: int
    operation: int
    step: str
    reply: Reply | None
    emissions: tuple[Emission, ...]
    following: Step | None
    digest: bytes


def history(name: str, asked: list[tuple[Caller, Request]], order: list[int]) -> list[Commit]:
    """Submit everything, then step in the given order; every commit with the digest after it."""
    config = HostConfig((900, 700), dom0_pages=24, xen_pages=40, low_mem_virq_pages=64)
    machine = Machine(new_host(config, release(name)))
    for request in PREPARED:
        operation = machine.submit(CONTROL, request)
        while operation.reply is None:
            machine.step(operation)
    under_way = [machine.submit(caller, request) for caller, request in asked]
    return [commit for choice in order for commit in _one(machine, under_way, choice)]


def _one(machine: Machine, under_way: list[Operation], choice: int) -> list[Commit]:
    runnable = [one for one in under_way if machine.is_runnable(one)]
    if not runnable:
        return []
    operation = runnable[choice % len(runnable)]
    done = machine.step(operation)
    return [
        Commit(
            done.commit,
            operation.number,
            done.step,
            done.reply,
            done.emissions,
            operation.pending,
            machine.host.digest(),
        )
    ]


ASKED = st.lists(st.tuples(CALLERS, REQUESTS), min_size=2, max_size=6)
ORDER = st.lists(st.integers(0, 5), min_size=5, max_size=80)


@pytest.mark.parametrize("name", tuple(RELEASES))
@given(asked=ASKED, order=ORDER)
@settings(max_examples=20)
@pytest.mark.rule("I12")
def test_a_replay_is_equal_at_every_commit(
    name: str, asked: list[tuple[Caller, Request]], order: list[int]
) -> None:
    """Two fresh machines given the same do the same: step, reply, events, next step, digest."""
    assert history(name, asked, order) == history(name, asked, order)


@pytest.mark.rule("P1")
def test_the_order_of_steps_matters() -> None:
    """The comparison can fail: two populates of one pool end otherwise when stepped in another order."""
    asked = [(CONTROL, IncreaseReservation(domid, 4, 5)) for domid in (1, 2)]
    assert history("4.17", asked, [0] * 16) != history("4.17", asked, [0, 1] * 8)
