"""Multicalls: operations a second in messages of many, against Redis and against the core without a wire."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

from benchmarks.core import cpu_rate, machine_with, run_core, work
from benchmarks.figures import Figure, Pair, Plan
from benchmarks.mix import recorded
from benchmarks.redis_anchor import redis_clients
from benchmarks.wire import HYPERVISOR, SECONDS, both

GUESTS = 4
WINDOW = 4
"""Messages in flight a guest, so that the hypervisor never waits for one."""


def against_redis(size: int) -> Callable[[Plan], Iterator[Pair]]:
    """Operations a second in multicalls of `size`, and in Redis pipelines of `size`."""

    def run(plan: Plan) -> Iterator[Pair]:
        mix, seconds = recorded().one_page_each(), plan.scaled(SECONDS, 0.2)
        with redis_clients(mix, GUESTS, size) as redis, both(GUESTS, mix, size) as ours:
            for _ in range(plan.rounds):
                yield ours.rate(HYPERVISOR, WINDOW, seconds) * size, redis.rate(seconds)

    return run


def against_core(plan: Plan) -> Iterator[Pair]:
    """Operations a second in multicalls of 256, and of the core in process."""
    mix, seconds = recorded().one_page_each(), plan.scaled(SECONDS, 0.2)
    machine, identities = machine_with(GUESTS)
    todo = work(identities) * int(plan.scaled(50, 1))
    gc.freeze()
    with both(GUESTS, mix, 256) as ours:
        for _ in range(plan.rounds):
            yield (
                ours.rate(HYPERVISOR, WINDOW, seconds) * 256,
                cpu_rate(lambda: run_core(machine, todo), len(todo)),
            )
    gc.unfreeze()


FIGURES = (
    *(
        Figure(
            f"multicall-{size}",
            f"operations in multicalls of {size}, one page each",
            f"Redis, the accounting as a Lua script, pipelined by {size}",
            "operations/s",
            5,
            against_redis(size),
        )
        for size in (32, 256)
    ),
    Figure(
        "multicall-core",
        "operations in multicalls of 256, one page each",
        "the pure core in process",
        "operations/s",
        0.5,
        against_core,
    ),
)
