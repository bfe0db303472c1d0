"""Which guests a scenario asks for: their memory, their demand, their own seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, assert_never

import msgspec

from guests.config import (
    ConstantSpec,
    FileSpec,
    GuestConfig,
    RandomWalkSpec,
    SelfBalloonSpec,
    SineSpec,
    SquareSpec,
    TraceSpec,
    WorkloadSpec,
)
from guests.factory import trace_spec
from guests.traces.errors import TraceError
from guests.traces.windows import Window
from hypervisor.edge import Identity
from hypervisor.public.orders import LaunchOrder
from hypervisor.public.units import Pages, Runs, runs_length
from launch.cluster.cloning import shared_run
from launch.cluster.orders import launch_of
from launch.cluster.streams import number, stream
from launch.errors import ScenarioError
from launch.scenario.mix import deal
from launch.scenario.models import GuestsTable, Scenario
from launch.scenario.windows import guest_windows
from launch.scenario.workloads import (
    ConstantDemand,
    Demand,
    Phase,
    RandomWalkDemand,
    ReplayDemand,
    SineDemand,
    SquareDemand,
)

Kind = Literal["hvm", "pv"]

BALLOONED_LEAST: Pages = 256
"""A replay that starts with next to nothing used still boots with 1 MiB."""


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """One guest before it has a domain: pages at start and at most, and its demand."""

    memory: Pages
    static_max: Pages
    workload: WorkloadSpec
    seed: int
    shared: Runs = ()
    """Gfns that it shares with the template before it runs."""
    on_demand: bool = False
    """Populate-on-demand from `memory` up to `static_max` instead of ballooned (HVM, A29)."""


def plan_guests(scenario: Scenario, repeat: int) -> tuple[GuestPlan, ...]:
    """The guests that run before the first launch. ScenarioError when the traces are too few."""
    table = scenario.guests
    rng = stream(scenario.seed, repeat, "guests")
    demands = deal(table.workload, table.count, rng)
    if not demands:
        demands = (ConstantDemand(kind="constant"),) * table.count
    windows = iter(_windows(table, demands, rng))
    return tuple(
        _plan(table, demand, windows, rng, number(scenario.seed, repeat, f"guest {index}"))
        for index, demand in enumerate(demands)
    )


def _windows(table: GuestsTable, demands: Sequence[Demand], rng: Random) -> tuple[Window, ...]:
    wanted = sum(isinstance(demand, ReplayDemand) for demand in demands)
    try:
        return guest_windows(table, wanted, rng)
    except TraceError as error:
        raise ScenarioError(f"guests.trace: {error}") from error


def _plan(table: GuestsTable, demand: Demand, windows: Iterator[Window], rng: Random, seed: int) -> GuestPlan:
    if isinstance(demand, ReplayDemand):
        return _replay_plan(table, demand, next(windows), seed)
    assert table.memory is not None, "the scenario's own check"
    static_max = table.memory if table.max is None else table.max
    spec = synthetic_spec(demand, table.memory, rng)
    shared = shared_run(table.memory, table.shared)
    return GuestPlan(table.memory, static_max, spec, seed, shared, table.on_demand)


def _replay_plan(table: GuestsTable, demand: ReplayDemand, window: Window, seed: int) -> GuestPlan:
    """Sizes come from the recording where the scenario gives none (traces README, mapping)."""
    first = next(window.points())[1]
    static_max = max(window.provisioned, window.peak) if table.max is None else table.max
    wanted = max(round(first * table.headroom), demand.floor, BALLOONED_LEAST)
    memory = min(wanted if table.memory is None else table.memory, static_max)
    spec = _trace_spec(demand, window, static_max)
    return GuestPlan(memory, static_max, spec, seed, shared_run(memory, table.shared), table.on_demand)


def _trace_spec(demand: ReplayDemand, window: Window, ceiling: Pages) -> TraceSpec:
    spec = trace_spec(window, speedup=demand.speedup, floor=demand.floor, ceiling=ceiling)
    return msgspec.structs.replace(spec, after=demand.after)


def synthetic_spec(demand: Demand, memory: Pages, rng: Random) -> WorkloadSpec:
    """The demand of a guest that starts with `memory` pages; draws its phase where it is random."""
    match demand:
        case ConstantDemand():
            return ConstantSpec(memory if demand.pages is None else demand.pages)
        case SineDemand():
            return SineSpec(demand.mean, demand.amplitude, demand.period, _phase(demand.phase, rng))
        case SquareDemand():
            return SquareSpec(demand.low, demand.high, demand.period, demand.duty, _phase(demand.phase, rng))
        case RandomWalkDemand():
            return RandomWalkSpec(demand.first, demand.step, demand.low, demand.high, demand.interval)
        case ReplayDemand():
            raise AssertionError("a replay is planned from its window")
        case _:
            assert_never(demand)


def _phase(phase: Phase, rng: Random) -> float:
    return rng.random() if phase == "random" else float(phase)


def plan_built(scenario: Scenario, order: LaunchOrder, repeat: int, seed: int) -> GuestPlan:
    """The guest that a launched domain becomes: `arrivals.workload`, or constant at its size.

    `seed` is that of the launches: the same wherever a launch is built, and at whichever attempt.
    """
    rng = stream(seed, repeat, f"launch {launch_of(order.order)}")
    mix = scenario.arrivals.workload
    demand = rng.choices(mix, [one.weight for one in mix])[0] if mix else ConstantDemand(kind="constant")
    workload = synthetic_spec(demand, order.pages, rng)
    return GuestPlan(order.pages, order.max_pages, workload, rng.getrandbits(63))


def guest_config(
    scenario: Scenario,
    plan: GuestPlan,
    kind: Kind,
    identity: Identity,
    frames: Runs,
) -> GuestConfig:
    """Everything the guest's process needs, once the domain exists."""
    table = scenario.guests
    on_demand = kind == "hvm" and runs_length(frames) > plan.memory
    return GuestConfig(
        domid=identity.domid,
        incarnation=identity.incarnation,
        secret=identity.secret,
        kind=kind,
        # Its kernel counts no hole: entries that it would keep beyond the cache could never be met (A30)
        static_max=runs_length(frames) if on_demand else plan.static_max,
        frames=frames,
        workload=plan.workload,
        seed=plan.seed,
        populate_on_demand=on_demand,
        shared=plan.shared,
        shared_writes=table.shared_writes if plan.shared else 0.0,
        self_sizing=table.self_sizing,
        headroom=table.headroom,
        behaviour=table.behaviour,
        behaviour_options=table.behaviour_options,
        tick=table.tick,
        max_retry_count=table.retry_limit,
        in_flight=table.in_flight,
        batch=table.batch,
        swap=table.swap,
        selfballoon=_selfballoon(table),
        files=_files(table),
        cleancache=table.cleancache,
        frontswap=table.frontswap,
    )


def _selfballoon(table: GuestsTable) -> SelfBalloonSpec | None:
    if not table.selfballoon:
        return None
    return SelfBalloonSpec(
        table.selfballoon_interval,
        table.selfballoon_downhysteresis,
        table.selfballoon_uphysteresis,
        table.selfballoon_min_usable,
        table.selfballoon_reserved,
    )


def _files(table: GuestsTable) -> FileSpec | None:
    if not table.files:
        return None
    return FileSpec(
        table.files, table.files_rate, table.files_exponent, table.files_count, table.files_truncate
    )
