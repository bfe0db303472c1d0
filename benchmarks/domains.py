"""Whether a hypercall costs more the more domains there are."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.core import CONTROL, cpu_rate, machine_with, run_core, work
from benchmarks.figures import Figure, Pair, Plan
from benchmarks.hosts import RELEASE
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, run_alone
from hypervisor.core.releases import release
from hypervisor.public.domctl import Created, CreateDomain, GetDomainInfoList, MaxMem
from hypervisor.public.memory import ClaimPages

FEW, MANY = 10, 10_000
ACTIVE = 10
"""Domains that make the calls, however many there are."""


def hypercalls(domains: int) -> Callable[[Plan], Iterator[Pair]]:
    """Microseconds of a hypercall of the mix with `domains` domains, and with `FEW`."""

    def run(plan: Plan) -> Iterator[Pair]:
        hosts = [machine_with(number) for number in (int(plan.scaled(domains, 20)), FEW)]
        todo = [work(identities[:ACTIVE]) * int(plan.scaled(20, 1)) for _, identities in hosts]
        gc.freeze()
        for _ in range(plan.rounds):
            many, few = (
                1e6 / cpu_rate(partial(run_core, machine, calls), len(calls))
                for (machine, _), calls in zip(hosts, todo, strict=True)
            )
            yield many, few
        gc.unfreeze()

    return run


def empty_domains(number: int) -> tuple[Machine, list[int]]:
    """A machine with PV domains that hold no page yet."""
    machine = Machine(new_host(HostConfig((1 << 22,)), release(RELEASE)))
    domids: list[int] = []
    for _ in range(number):
        created = run_alone(machine, CONTROL, CreateDomain(flags=0)).value
        assert isinstance(created, Created)
        run_alone(machine, CONTROL, MaxMem(created.domid, 4 * 64))
        domids.append(created.domid)
    return machine, domids


def claim_all(machine: Machine, domids: list[int]) -> None:
    """Claim 16 pages for each, and drop the claims again."""
    for pages in (16, 0):
        for domid in domids:
            if run_alone(machine, CONTROL, ClaimPages(domid, pages)).ret:
                raise RuntimeError(f"claim of {pages} pages for domain {domid} refused")


def list_all(machine: Machine, domids: list[int]) -> None:
    """getdomaininfolist over every domain."""
    reply = run_alone(machine, CONTROL, GetDomainInfoList(1, len(domids)))
    if reply.ret != len(domids):
        raise RuntimeError(f"{reply.ret} domains listed of {len(domids)}")


def per_domain(what: Callable[[Machine, list[int]], None], calls: int) -> Callable[[Plan], Iterator[Pair]]:
    """Microseconds a domain with `MANY` domains and with `FEW`; `what` makes `calls` calls a domain."""

    def run(plan: Plan) -> Iterator[Pair]:
        many, few = int(plan.scaled(MANY, 50)), FEW
        hosts = [empty_domains(number) for number in (many, few)]
        repeats = (1, many // few)
        gc.freeze()

        def go(machine: Machine, domids: list[int], times: int) -> None:
            for _ in range(times):
                what(machine, domids)

        for machine, domids in hosts:
            what(machine, domids)  # the steps of every domain are made once
        for _ in range(plan.rounds):
            ours, anchor = (
                1e6 / cpu_rate(partial(go, machine, domids, times), len(domids) * times * calls)
                for (machine, domids), times in zip(hosts, repeats, strict=True)
            )
            yield ours, anchor
        gc.unfreeze()

    return run


FIGURES = (
    *(
        Figure(
            f"domains-{number}",
            f"one hypercall with {number} domains",
            f"the same with {FEW}",
            "us",
            1.2,
            hypercalls(number),
            at_most=True,
        )
        for number in (100, 1000)
    ),
    Figure(
        "claim-10000",
        f"a claim with {MANY:,} domains",
        f"the same with {FEW}",
        "us",
        1.2,
        per_domain(claim_all, 2),
        at_most=True,
    ),
    Figure(
        "list-10000",
        f"getdomaininfolist per domain with {MANY:,} domains",
        f"the same with {FEW}",
        "us",
        1.2,
        per_domain(list_all, 1),
        at_most=True,
    ),
)
