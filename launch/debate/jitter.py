"""What a seed moves in an experiment whose scenario fixes phases and arrivals: [jitter] of its file.

Without it every seed would run the same run again, and an interval over seeds would be that of a single
observation. The arms of a pair are moved alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

import msgspec

from guests.config import SineSpec, SquareSpec
from launch.arrivals.arrival import Arrival
from launch.cluster.host_plan import HostPlan
from launch.cluster.plans import GuestPlan
from launch.cluster.streams import stream
from launch.debate.experiment import Jitter


def jittered(plan: HostPlan, jitter: Jitter) -> HostPlan:
    """The plan with what the seed moves; the plan itself where nothing is to be moved."""
    if jitter == Jitter():
        return plan
    seed = plan.scenario.seed
    guests = _turned(plan.guests, jitter, stream(seed, plan.repeat, "jitter of phases"))
    arrivals = _later(plan.arrivals, jitter.arrivals, stream(seed, plan.repeat, "jitter of arrivals"))
    return replace(plan, guests=tuple(guests), arrivals=tuple(sorted(arrivals, key=lambda one: one.t)))


def _turned(guests: Sequence[GuestPlan], jitter: Jitter, rng: Random) -> Iterator[GuestPlan]:
    common = rng.random() if jitter.turn else 0.0
    for guest in guests:
        shift = common + rng.uniform(0.0, jitter.phases)
        demand = guest.workload
        if isinstance(demand, SineSpec | SquareSpec):
            demand = msgspec.structs.replace(demand, phase=(demand.phase + shift) % 1.0)
        yield replace(guest, workload=demand)


def _later(arrivals: Sequence[Arrival], most: float, rng: Random) -> Iterator[Arrival]:
    for one in arrivals:
        yield replace(one, t=one.t + rng.uniform(0.0, most))
