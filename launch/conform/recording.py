"""A recording of a real Xen as data: the format memprobe-1 (and tmemprobe-1 as far as it has no tmem ops).

Quantities are pages of 4 KiB, memory limits are KiB, as the program that recorded them wrote them.
"""

from typing import Final

from msgspec import Struct

TMEM_COUNTERS: Final = (
    "list",
    "freeable",
    "midsize",
    "eph",
    "pgps",
    "objs",
    "nodes",
    "data_pages",
    "evicted",
    "evict_attempts",
    "relinq",
    "relinq_attempts",
    "alloc_failed",
    "page_failed",
)
"""Figures of tmem in a state of the format tmemprobe-1."""
REMARKS: Final = frozenset({"settle", "sleep", "note", "adopt"})
"""Lines that sent nothing to the allocator."""
TMEM_OPS: Final = frozenset(
    {
        "guest",
        "tpool",
        "tkill",
        "traw",
        "tput",
        "tget",
        "tflush",
        "tflushobj",
        "tctl",
        "tlist",
        "tweight",
        "tinfo",
        "tauth",
    }
)
"""Operations of transcendent memory."""


class RecordedDomain(Struct, frozen=True):
    """A domain's counters as getdomaininfo told them after a line."""

    domid: int
    tot: int
    max: int
    outstanding: int
    shr: int = 0
    dying: bool = False


class RecordedState(Struct, frozen=True):
    """The host after a line; domains by the name the script gave them."""

    total: int
    free: int
    outstanding: int
    dom0_tot: int
    doms: dict[str, RecordedDomain]
    node_free: tuple[int, ...] = ()
    tmem: dict[str, int] | None = None
    """`TMEM_COUNTERS` by name; None where tmem was not recorded."""

    @property
    def freeable(self) -> int:
        """Pages that tmem could give back."""
        return 0 if self.tmem is None else self.tmem["freeable"]


class Header(Struct, frozen=True):
    """First line: which Xen answered, and on what host."""

    script: str
    xen_version: str
    total_pages: int
    free_pages: int
    nr_nodes: int
    nr_cpus: int
    state: RecordedState
    host: str = ""
    """The machine and its boot options; dom0's memory limit stands there."""


class Line(Struct, frozen=True):
    """One operation and what became of it. Arguments that its kind does not have keep their defaults."""

    i: int
    op: str
    state: RecordedState
    src: str = ""
    free_before: int = -1
    """Free pages right before; -1 for a note."""
    dom: str = ""
    domid: int = -1
    ret: int = 0
    errno: int = 0
    why: str = ""
    skipped: str = ""
    kind: str = "pv"  # create
    kb: int = 0  # maxmem, maxpages
    pages: int = 0  # claim
    mb: int = 0  # mempool
    order: int = 0  # populate, increase, decrease
    count: int = 0  # the same, and map
    bad_at: int | None = None  # decrease: which extent was no frame of the domain
    mem_flags: int = 0
    done: int = 0  # populate_exact
    in_order: int = 0  # exchange
    in_count: int = 0
    out_order: int = 0
    out_count: int = 0
    nr_exchanged: int = 0
    cmd: int = 0  # raw_*
    nr_extents: int = 0
    extent_order: int = 0
    start_extent: int = 0
    extent_start_null: bool = True
    client: str = ""  # tmem commands: the domain that asks
    pool: int = 0
    flags: int = 0  # tpool, tinfo
    uuid: tuple[str, str] = ("0", "0")
    oid: int = 0  # tput, tget, tflush, tflushobj
    index: int = 0
    step: str = "index"
    seed: int = 0
    bad_frame: bool = False
    issued: int = 0
    results: dict[str, int] = {}
    got_seed: int | None = None
    cli: int = 0  # control operations
    arg: int = 0
    auth: int = 0
    weight: int = 0
    compress: int = 0
    nr_pools: int = 0
    long: int = 0
    lines: tuple[str, ...] = ()

    @property
    def sent_nothing(self) -> bool:
        """True when there is no answer to compare: the script skipped the line, or it is a remark."""
        return bool(self.skipped) or self.op in REMARKS


class Recording(Struct, frozen=True):
    """One file."""

    name: str
    header: Header
    lines: tuple[Line, ...]
