"""A scenario as data: the tables and keys of a scenario file, their units, defaults and ranges.

Amounts of memory are held in pages, times in emulated seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from launch.scenario.disturbances import FaultTable, HoldTable, LinksTable
from launch.scenario.placement import Name, PlacementTable
from launch.scenario.sizes import PositiveSize, Size
from launch.scenario.table import Count, PositiveSeconds, Seconds, Table, Tuple
from launch.scenario.workloads import Demand

ReleaseName = Literal["4.3", "4.12", "4.17", "4.21", "4.22", "claim-sets"]
MOST_LAUNCHES: Final = 1_000_000
"""Launches in one run, whatever the kind of arrivals."""
Builder = Literal["hvm-4.17", "pv-4.17", "hvm-4.3", "pv-4.3"]


def release_text(value: object) -> object:
    """`release = 4.17` is a number in TOML; every release reads back from it unharmed."""
    return repr(value) if isinstance(value, float) else value


def names(value: object) -> object:
    """ "claim,naive" (handy with --set) is the list of the two."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


TracePath = Annotated[Path, Field(strict=False)]


class HostTable(Table):
    """[host]: the machine."""

    name: Name = "host0"
    memory: PositiveSize = 16 * 262_144  # RAM, all of it; at most 4 TiB
    dom0: Size = 262_144  # of it the control domain's, fixed
    xen: Size = 65_536  # of it Xen's own
    nodes: Count | Tuple[PositiveSize] = 1  # NUMA nodes: how many alike, or the memory of each; at most 64
    lease: PositiveSeconds = 80.0  # silence of a peer's Python after which the hypervisor notes it as stopped
    low_mem_virq: Size | None = None  # threshold of VIRQ_ENOMEM; None is Xen's own choice, 64 MiB (A27)
    tmem: bool = False  # Xen's boot option: transcendent memory, in releases 4.3 and 4.12 (T1)


class GuestsTable(Table):
    """[guests]: the domains that run before the first launch."""

    count: Annotated[int, Field(ge=0, le=100_000)] = 24
    memory: PositiveSize | None = None  # at start; None (replay only) is the demand at second 0
    max: PositiveSize | None = None  # static-max; None is `memory`, for a replay what the trace provisions
    kind: Literal["hvm", "pv"] = "hvm"
    on_demand: bool = False  # HVM: built populate-on-demand from `memory` up to `max`, not ballooned (A29)
    shared: Annotated[float, Field(ge=0, le=0.99)] = (
        0.0  # HVM: part of `memory` shared with a template at start
    )
    shared_writes: Annotated[float, Field(ge=0)] = 0.0  # first writes of a guest to shared pages per second
    behaviour: Annotated[str, Field(min_length=1)] = "ideal"  # or module:Class
    behaviour_options: dict[str, Any] = Field(default_factory=dict)  # checked by the behaviour itself
    workload: Tuple[Demand] = ()  # the mix; empty is constant at `memory`
    trace: TracePath | None = None  # a CSV or a folder of them, for replay
    trace_start: Annotated[int, Field(ge=0)] = 0  # samples of each file passed over before windows are cut
    trace_length: Count = 288  # samples in a window, one window a guest
    machine: PositiveSize = 256 * 262_144  # Borg's largest machine, to which its fractions refer
    headroom: Annotated[float, Field(gt=0)] = 1.0  # target a guest sets itself / its demand (Qubes: 1.3)
    tick: PositiveSeconds = 1.0  # between two looks of a guest at its own demand
    swap: Size = 65_536  # what does not fit into it is an OOM kill
    retry_limit: Annotated[int, Field(ge=0)] = (
        0  # the balloon driver's max_retry_count; 0 never gives up (G1)
    )
    in_flight: Annotated[int, Field(ge=1, le=64)] = 1  # calls of one guest unanswered at once
    batch: Annotated[int, Field(ge=1, le=1024)] = 1  # balloon calls (512 pages each) in one multicall
    per_process: Count = 1  # guests carried by one operating system process
    self_sizing: bool = True  # the guest follows its own demand; else memory/target of the toolstack alone
    # Linux's xen-selfballoon in place of headroom: up at once, down by eighths (G9-G13); needs host.tmem
    selfballoon: bool = False
    selfballoon_interval: PositiveSeconds = 5.0  # between two runs of its worker
    selfballoon_downhysteresis: Count = 8  # this part of the surplus goes at each
    selfballoon_uphysteresis: Count = 1  # this part of the lack comes at each
    selfballoon_min_usable: Size = 0  # never below this and the kernel's reserve; 0 follows `max` (G12)
    selfballoon_reserved: Size = 0  # kept beside demand
    files: Size = 0  # pages of the files that a guest's programs read; 0 is no page cache
    files_rate: PositiveSeconds = 100.0  # references to them per emulated second, as far as calls let it
    files_exponent: Annotated[float, Field(ge=0)] = 1.0  # of Zipf's law; 0 makes all pages equally popular
    files_count: Count = 16  # files they are spread over
    files_truncate: PositiveSeconds | None = None  # seconds between truncations of a file; None is never
    cleancache: bool = False  # pages evicted from the page cache are put into tmem (G14); needs host.tmem
    frontswap: bool = False  # swapped pages are put into tmem, what it refuses goes to disk (G15)


class HostsTable(HostTable):
    """[[hosts]]: one of several hosts, or some alike; what it leaves out is as in [host] and [guests].

    A party of it is "host1/guest-3". Without a name the hosts are host1, host2, ...
    """

    count: Annotated[int, Field(ge=1, le=1_000)] = 1  # so many alike: name = "a" makes a1, a2, ...
    guests: GuestsTable = GuestsTable()  # [hosts.guests]: its own, laid over [guests] key by key


class ArrivalsTable(Table):
    """[arrivals]: the launches asked for while the guests run."""

    kind: Literal["burst", "poisson", "azure", "list"] = "burst"
    count: Annotated[int, Field(ge=0, le=MOST_LAUNCHES)] | None = None  # burst: launches; poisson: the most
    size: PositiveSize | None = None  # of every launch
    sizes: Tuple[PositiveSize] = ()  # burst, poisson: drawn, equally likely; list: one for each
    max: PositiveSize | None = None  # static-max of a launch; above its size an HVM guest is built on demand
    vcpus: Count = 1
    at: Seconds | Tuple[Seconds] = 0.0  # second of the first launch; list: one for each
    spread: Seconds = 0.0  # burst: seconds over which it is spread
    rate: PositiveSeconds | None = None  # poisson: launches per emulated second
    lifetime: PositiveSeconds | None = None  # burst, list: of each; poisson: mean; None is to the end
    workload: Tuple[Demand] = ()  # of the domains built; empty is constant at their size
    trace: TracePath | None = None  # azure: the folder of the launch stream
    start: Seconds | None = None  # azure: second of the trace at which the window begins; None is its first
    length: PositiveSeconds | None = None  # azure: seconds in the window; None is the scenario's duration
    batch_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # azure: share of batches kept whole
    batch_memory_cap: PositiveSize | None = None  # azure: larger batches are left out
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0  # azure: sizes times this, to keep a run small
    limit: Count | None = None  # no more launches than this, whatever the kind


class ToolstackTable(Table):
    """[toolstack]: who builds."""

    count: Count = 1  # toolstack processes; launches go round
    parallel: Count = 4  # builds at once in each; further orders wait
    builder: Builder = "hvm-4.17"
    pages_per_second: Count = 20_000  # pace of one build; 20,000 pages/s are 4.6 GiB/min


class Scenario(Table):
    """The whole file."""

    name: Name
    about: str = ""
    seed: Annotated[int, Field(ge=0)] = 1
    release: Annotated[ReleaseName, BeforeValidator(release_text)] = "4.17"
    speed: Annotated[float, Field(ge=0.001, le=1_000_000)] = 40.0  # emulated seconds per real second
    duration: Annotated[float, Field(gt=0, le=10_000_000)] = 600.0  # the run ends here
    transport: Literal["ipc", "tcp"] = "ipc"  # sockets in a private folder, or on 127.0.0.1
    schemes: Annotated[Tuple[str], BeforeValidator(names), Field(min_length=1)] = (
        "naive",  # a run each, in this order; "claim+clamp" is both at once on a host, and orders alternate
        "claim",
        "clamp",
    )
    repeats: Annotated[int, Field(ge=1, le=10_000)] = 1  # runs of each scheme, each with a stream of its own
    host: HostTable = HostTable()
    guests: GuestsTable = GuestsTable()
    hosts: Tuple[HostsTable] = ()
    placement: PlacementTable = PlacementTable()
    arrivals: ArrivalsTable = ArrivalsTable()
    toolstack: ToolstackTable = ToolstackTable()
    scheme: dict[str, dict[str, Any]] = Field(
        default_factory=dict
    )  # [scheme.NAME]: parameters the scheme itself understands
    links: LinksTable = LinksTable()
    holds: Tuple[HoldTable] = ()
    faults: Tuple[FaultTable] = ()
