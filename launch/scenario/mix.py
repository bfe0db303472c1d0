"""Which guest gets which demand of a workload mix."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from launch.scenario.workloads import Demand


def deal(mix: Sequence[Demand], count: int, rng: Random) -> tuple[Demand, ...]:
    """`count` demands, each kind as often as its weight says (largest remainders), in random order.

    The numbers of each kind do not depend on the seed, so that seeds differ in who does what and when, not in
    how much is asked for in all. An empty mix gives an empty answer.
    """
    if not mix:
        return ()
    total = sum(demand.weight for demand in mix)
    exact = [count * demand.weight / total for demand in mix]
    numbers = [int(share) for share in exact]
    by_remainder = sorted(range(len(mix)), key=lambda index: numbers[index] - exact[index])
    for index in by_remainder[: count - sum(numbers)]:
        numbers[index] += 1
    dealt = [demand for demand, number in zip(mix, numbers, strict=True) for _ in range(number)]
    rng.shuffle(dealt)
    return tuple(dealt)
