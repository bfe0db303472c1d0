"""What each key allows by itself but the scenario as a whole cannot be: sizes, moments, keys in pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from hypervisor.public.units import PAGES_PER_GIB, Pages
from launch.scenario.at_once import schemes_at_once
from launch.scenario.complaints import Fault
from launch.scenario.disturbed import impossible_disturbances
from launch.scenario.models import MOST_LAUNCHES, ArrivalsTable, GuestsTable, HostTable, Scenario
from launch.scenario.plain import Path, is_array, is_table
from launch.scenario.scenes import largest_room, room
from launch.scenario.several import several_faults
from launch.scenario.sizes import format_size
from launch.scenario.tmem import tmem_faults
from launch.scenario.workloads import ReplayDemand

MOST_MEMORY: Final[Pages] = 4096 * PAGES_PER_GIB
"""4 TiB: a frame's number (mfn) stays far below 2^32."""
MOST_NODES: Final = 64
"""Xen's MAX_NUMNODES."""


def impossible(scenario: Scenario) -> Iterator[Fault]:
    """Every contradiction, each with the key to change."""
    yield from several_faults(scenario, _of_host)
    yield from _arrivals(scenario.arrivals, scenario)
    yield from _duplicates(scenario)
    yield from impossible_disturbances(scenario)
    yield from _not_finite(("scheme",), scenario.scheme)


def _of_host(scenario: Scenario) -> Iterator[Fault]:
    """Of one host and its guests."""
    yield from _host(scenario.host)
    yield from _guests(scenario.guests, scenario.host)
    yield from _replay(scenario.guests)
    yield from tmem_faults(scenario)
    yield from _not_finite(("guests", "behaviour_options"), scenario.guests.behaviour_options)


def _host(host: HostTable) -> Iterator[Fault]:
    if room(host) <= 0:
        yield Fault(
            ("host", "memory"),
            f"{format_size(host.memory)} leaves nothing beside Xen's {format_size(host.xen)} and "
            f"dom0's {format_size(host.dom0)}: raise host.memory or lower host.dom0",
        )
    if host.memory > MOST_MEMORY:
        most = format_size(MOST_MEMORY)
        yield Fault(
            ("host", "memory"), f"{format_size(host.memory)}, but a host has at most {most}: lower it"
        )
    yield from _nodes(host)
    if host.low_mem_virq is not None and host.low_mem_virq >= host.memory:
        yield Fault(("host", "low_mem_virq"), "not below host.memory, it would never cease: lower it")


def _nodes(host: HostTable) -> Iterator[Fault]:
    number = len(host.nodes) if isinstance(host.nodes, tuple) else host.nodes
    if number > MOST_NODES:
        yield Fault(("host", "nodes"), f"{number} nodes, but Xen knows at most {MOST_NODES}: name fewer")
    elif number > host.memory:
        yield Fault(("host", "nodes"), f"{number} nodes, but {host.memory} pages: lower host.nodes")
    if isinstance(host.nodes, tuple) and sum(host.nodes) != host.memory:
        yield Fault(
            ("host", "nodes"),
            f"the nodes add up to {format_size(sum(host.nodes))}, host.memory is {format_size(host.memory)}: "
            "make them equal",
        )


def _guests(guests: GuestsTable, host: HostTable) -> Iterator[Fault]:
    if guests.memory is None:
        if not _replays_only(guests) and guests.count:
            yield Fault(("guests", "memory"), 'missing: add memory = "512MiB", the memory at start')
        return
    if guests.on_demand and guests.kind == "pv":
        yield Fault(("guests", "on_demand"), 'PV guests cannot: set guests.kind = "hvm", or leave it out')
    if guests.max is not None and guests.max < guests.memory:
        yield Fault(
            ("guests", "max"),
            f"{format_size(guests.max)} is below guests.memory ({format_size(guests.memory)}): "
            "raise guests.max or lower guests.memory",
        )
    if guests.max is not None and guests.max > host.memory:
        yield Fault(("guests", "max"), f"{format_size(guests.max)} is more than the host has: lower it")
    shared = int(guests.memory * guests.shared)
    yield from _all_guests(guests.count, guests.memory - shared, room(host) - 2 * shared)
    if guests.shared and guests.kind != "hvm":
        yield Fault(("guests", "shared"), 'only HVM guests share pages: set guests.kind = "hvm" or drop it')
    if guests.shared_writes and not guests.shared:
        yield Fault(("guests", "shared_writes"), "nothing is shared: add guests.shared, such as 0.5")


def _all_guests(count: int, memory: Pages, left: Pages) -> Iterator[Fault]:
    if left > 0 and count * memory > left:
        fitting = left // memory
        yield Fault(
            ("guests", "memory"),
            f"{count} guests of {format_size(memory)} need {format_size(count * memory)}, the host has "
            f"{format_size(left)} beside Xen and dom0: "
            + (f"lower guests.count to {fitting} or raise host.memory" if fitting else "lower guests.memory"),
        )


def _replays_only(guests: GuestsTable) -> bool:
    return bool(guests.workload) and all(isinstance(demand, ReplayDemand) for demand in guests.workload)


def _replay(guests: GuestsTable) -> Iterator[Fault]:
    replays = any(isinstance(demand, ReplayDemand) for demand in guests.workload)
    if replays and guests.trace is None:
        yield Fault(
            ("guests", "trace"),
            "missing, a replay needs it: add --set guests.trace=FOLDER, a folder of Google Borg 2019 "
            "instance or Bitbrains GWA-T-12 CSVs",
        )
    if guests.trace is not None and not replays:
        yield Fault(("guests", "trace"), 'nobody replays it: add {kind = "replay"} to guests.workload')


def _arrivals(arrivals: ArrivalsTable, scenario: Scenario) -> Iterator[Fault]:
    yield from _needs(arrivals)
    yield from _too_many(arrivals, scenario.duration)
    if any(isinstance(demand, ReplayDemand) for demand in arrivals.workload):
        yield Fault(("arrivals", "workload"), "launched domains cannot replay: use another kind")
    moments = arrivals.at if isinstance(arrivals.at, tuple) else (arrivals.at,)
    if moments and max(moments) >= scenario.duration:
        yield Fault(
            ("arrivals", "at"),
            f"second {max(moments):g} is not before the end (duration = {scenario.duration:g}): "
            "lower it or raise duration",
        )
    for key, sizes in (("size", (arrivals.size,)), ("sizes", arrivals.sizes)):
        largest = max((size for size in sizes if size is not None), default=0)
        if largest > largest_room(scenario) > 0:
            yield Fault(
                ("arrivals", key),
                f"{format_size(largest)} would not fit on an empty host, which has "
                f"{format_size(largest_room(scenario))} beside Xen and dom0: lower it or raise host.memory",
            )


def _needs(arrivals: ArrivalsTable) -> Iterator[Fault]:
    kind = f'arrivals of kind "{arrivals.kind}" need it'
    if arrivals.kind == "azure" and arrivals.trace is None:
        yield Fault(
            ("arrivals", "trace"),
            f"missing, {kind}: add --set arrivals.trace=FOLDER, the folder of the Azure V1 launch stream",
        )
    if arrivals.kind == "poisson" and arrivals.rate is None:
        yield Fault(("arrivals", "rate"), f"missing, {kind}: add rate = 0.1, launches per emulated second")
    if arrivals.kind == "burst" and arrivals.count is None:
        yield Fault(("arrivals", "count"), f"missing, {kind}: add count = 6, the number of launches")
    if arrivals.kind != "azure":
        yield from _needs_sizes(arrivals, kind)


def _needs_sizes(arrivals: ArrivalsTable, kind: str) -> Iterator[Fault]:
    if arrivals.size is None and not arrivals.sizes and arrivals.count != 0:
        yield Fault(("arrivals", "size"), f'missing, {kind}: add size = "1GiB"')
    if arrivals.size is not None and arrivals.sizes:
        yield Fault(("arrivals", "sizes"), "given beside arrivals.size: keep one of the two")
    if arrivals.kind == "list":
        yield from _list(arrivals)
    elif isinstance(arrivals.at, tuple):
        cure = 'write kind = "list"' if arrivals.at else "write at = 0, its second"
        yield Fault(("arrivals", "at"), f"an array, but a {arrivals.kind} begins at one moment: {cure}")


def _list(arrivals: ArrivalsTable) -> Iterator[Fault]:
    moments = len(arrivals.at) if isinstance(arrivals.at, tuple) else 1
    if not moments:
        yield Fault(
            ("arrivals", "at"), "an array without a moment: write at = [60], the second of each launch"
        )
        return
    if arrivals.sizes and len(arrivals.sizes) != moments:
        yield Fault(
            ("arrivals", "sizes"),
            f"{len(arrivals.sizes)} sizes for {moments} moments in arrivals.at: give one for each",
        )


def _too_many(arrivals: ArrivalsTable, duration: float) -> Iterator[Fault]:
    """A poisson stream is made in one go, so it has to end."""
    if arrivals.kind != "poisson" or arrivals.rate is None or arrivals.count is not None:
        return
    if arrivals.rate * duration > MOST_LAUNCHES:
        yield Fault(
            ("arrivals", "rate"),
            f"{arrivals.rate:g} launches a second for {duration:g} s are over {MOST_LAUNCHES}: "
            "lower arrivals.rate or give arrivals.count",
        )


def _not_finite(key: Path, value: Any) -> Iterator[Fault]:
    """inf and nan in tables whose keys a scheme or a behaviour checks itself."""
    if isinstance(value, float) and not math.isfinite(value):
        yield Fault(key, f"must be a finite number, not {value}")
    elif is_table(value):
        for part, inner in value.items():
            yield from _not_finite((*key, part), inner)
    elif is_array(value):
        for number, inner in enumerate(value):
            yield from _not_finite((*key, number), inner)


def _duplicates(scenario: Scenario) -> Iterator[Fault]:
    for name in dict.fromkeys(scenario.schemes):
        if scenario.schemes.count(name) > 1:
            yield Fault(
                ("schemes",), f'"{name}" is named twice: name it once; repeats = 2 runs everything twice'
            )
        for one in (several := schemes_at_once(name)):
            if several.count(one) > 1:
                yield Fault(("schemes",), f'"{name}" has "{one}" twice: use toolstack.count for more of it')
                break
