"""Everything a guest needs to start, as plain data that can be sent to its process."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hypervisor.public.units import U16, U64, DomId, Pages, Runs, Seconds

Positive = Annotated[int, Meta(ge=1)]


class ConstantSpec(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="constant"):
    """See `guests.workloads.Constant`."""

    pages: Pages


class SineSpec(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="sine"):
    """See `guests.workloads.Sine`."""

    mean: Pages
    amplitude: Pages
    period: Seconds
    phase: float = 0.0


class SquareSpec(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="square"):
    """See `guests.workloads.Square`."""

    low: Pages
    high: Pages
    period: Seconds
    duty: float = 0.5
    phase: float = 0.0


class RandomWalkSpec(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="random-walk"):
    """See `guests.workloads.RandomWalk`; the walk is seeded by the guest's `seed`."""

    start: Pages
    step: Pages
    low: Pages
    high: Pages
    interval: Seconds


class TraceSpec(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="trace"):
    """A window of a trace, see `guests.traces.windows.Window`, replayed as `guests.replay.Replay` does."""

    path: str
    format: Literal["borg", "bitbrains"]
    machine_pages: Pages
    first: int
    length: int  # samples
    speedup: float = 1.0
    scale: float = 1.0
    floor: Pages = 0
    ceiling: Pages | None = None
    after: Literal["hold", "loop"] = "hold"


class FileSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """The files that a guest's programs read, see `guests.kernel.reader.Reader`."""

    pages: Positive  # of all files together
    rate: Annotated[float, Meta(ge=0.0)]  # references per emulated second
    exponent: Annotated[float, Meta(ge=0.0)] = 1.0  # Zipf's; 0 makes all pages equally popular
    files: Positive = 16
    truncate_every: Annotated[Seconds, Meta(gt=0.0)] | None = None  # a file is truncated; None: never


class SelfBalloonSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Linux's xen-selfballoon, see `guests.selfballoon.SelfBalloon`."""

    interval: Annotated[Seconds, Meta(gt=0.0)] = 5.0
    down_hysteresis: Positive = 8
    up_hysteresis: Positive = 1
    min_usable: Annotated[int, Meta(ge=0)] = 0  # pages; 0: a piecewise linear function of static_max
    reserved: Annotated[int, Meta(ge=0)] = 0  # pages


WorkloadSpec = ConstantSpec | SineSpec | SquareSpec | RandomWalkSpec | TraceSpec


class GuestConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One guest: its identity, its memory, its programs and its balloon driver. Memory in pages."""

    domid: U16
    incarnation: U64
    secret: bytes
    kind: Literal["hvm", "pv"] = "hvm"
    static_max: Pages  # all the RAM its kernel counts
    frames: Runs  # owned at start: gfns (HVM) or mfns (PV), as the builder reports them
    workload: WorkloadSpec
    seed: int = 0  # of the workload's random stream

    self_sizing: bool = True  # False: nothing but memory/target moves the balloon
    headroom: Annotated[float, Meta(gt=0.0)] = 1.1  # target = demand x headroom, when self-sizing
    floor: Pages = 0  # lowest target the guest sets itself
    selfballoon: SelfBalloonSpec | None = None  # in place of headroom and floor, where there is tmem

    files: FileSpec | None = None  # what its programs read; None: nothing, no page cache
    cleancache: bool = False  # pages evicted from the page cache are put into tmem
    frontswap: bool = False  # pages are swapped into tmem first

    populate_on_demand: bool = False  # of `frames` only as many have a page as memory/target says (A30)
    shared: Runs = ()  # gfns shared with other guests at start (HVM)
    shared_writes: Annotated[float, Meta(ge=0.0)] = 0.0  # first writes to them per emulated second

    behaviour: str = "ideal"
    behaviour_options: dict[str, Any] = {}
    tick: Annotated[Seconds, Meta(gt=0.0)] = 5.0  # emulated seconds between looks at demand
    max_retry_count: U16 = 0  # 0 unlimited (Linux v3.2..v5.2); 4 from v5.3 on
    inflate_to_available: bool = False  # v5.3: never swap programs out for the balloon
    in_flight: Positive = 1  # calls unanswered at once; Linux has 1
    batch: Annotated[int, Meta(ge=1, le=1024)] = 1  # requests per call; Linux has 1

    swap: Annotated[int, Meta(ge=0)] = 0
    processes: Positive = 4  # equal shares of the workload; the OOM killer ends one at a time
    oom_restart: Annotated[Seconds, Meta(gt=0.0)] = 60.0  # emulated seconds until a killed one is back

    @property
    def name(self) -> str:
        """The guest's name in files: unique on its host, also when a domid is used again."""
        return guest_name(self.domid, self.incarnation)


def guest_name(domid: DomId, incarnation: int) -> str:
    """What the files of a guest are called."""
    return f"guest-{domid}-{incarnation}"
