"""The third socket: launch orders to a toolstack, outcomes back. A foreign toolstack can take part.

The launcher binds a ROUTER; a toolstack connects a DEALER, says `Enlist`, gets orders and reports
outcomes. One ZeroMQ frame is one msgpack array whose first element is the tag.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from hypervisor.public.lag import Lag
from hypervisor.public.units import U16, Commit, DomId, Pages, Runs, Seconds


class Stage(StrEnum):
    """How far a launch came. It ends in REFUSED, FAILED, BUILT or, cut short by a Dismiss, DISMISSED."""

    ADMITTED = "admitted"  # the scheme promised the memory; the build begins
    REFUSED = "refused"  # the scheme said no before anything was built
    FAILED = "failed"  # admitted, then the build fell short and was rolled back
    BUILT = "built"  # populated and ready to run
    DISMISSED = "dismissed"  # the run ended first; everything is put back
    DESTROYED = "destroyed"  # the lifetime was over and the domain is gone


RAISED: Final = "the scheme raised"
"""How the reason of an outcome begins when a plug-in's own fault is behind it."""
WAITED_FOR: Final = "dismissed while it waited for"
"""How the reason of a DISMISSED outcome begins when the scheme had not decided yet."""


class LaunchOrder(Struct, frozen=True, tag="launch"):
    """Build a domain."""

    order: int  # number of the order, unique in the run
    pages: Pages  # wanted tot_pages at start
    max_pages: Pages  # lifetime maximum (static-max), at least `pages`
    builder: str = "pv-4.17"  # see toolstack/builder
    vcpus: int = 1
    lifetime: Seconds | None = None  # emulated; None lives to the end of the run


class DestroyOrder(Struct, frozen=True, tag="destroy"):
    """Destroy a domain built earlier."""

    order: int  # the launch order that built it
    domid: U16


class Dismiss(Struct, frozen=True, tag="dismiss"):
    """No more orders: restore what is still lowered or claimed, report, and leave."""


class Enlist(Struct, frozen=True, tag="enlist"):
    """I am a toolstack and ready for orders."""

    name: str
    secret: bytes
    pid: int = 0


class Outcome(Struct, frozen=True, tag="outcome"):
    """What became of an order so far; one message per stage reached."""

    order: int
    stage: Stage
    commit: Commit = 0  # the last one the answer rests on; 0 when no hypercall preceded it
    time: Seconds = 0.0  # emulated seconds when the toolstack knew
    reason: str = ""  # why refused or failed, e.g. "ENOMEM from claim_pages"
    domid: DomId = -1
    incarnation: int = -1
    secret: bytes = b""  # of the built domain, for its guest process
    frames: Runs = ()  # order-0 runs of the frames the guest now owns: gfns (HVM) or mfns (PV)
    pages_populated: Pages = 0  # by this launch, also when thrown away later
    hypercalls: int = 0  # made for this launch so far: admission, build and restore
    admission_hypercalls: int = 0  # of these, for the admission decision and its restore
    sampled: Commit = 0  # first commit of the oldest reading that the decision used; 0 when unknown


class Farewell(Struct, frozen=True, tag="farewell"):
    """The toolstack has finished after a Dismiss. `leftovers` lists what it could not undo."""

    leftovers: tuple[str, ...] = ()
    notes: dict[str, Any] = {}  # the scheme's own figures, shown in the summary
    lag: Lag | None = None  # how late its process woke up; None: not measured


ToToolstack = LaunchOrder | DestroyOrder | Dismiss
FromToolstack = Enlist | Outcome | Farewell

TO_TOOLSTACK: Final = msgspec.msgpack.Decoder(ToToolstack)
FROM_TOOLSTACK: Final = msgspec.msgpack.Decoder(FromToolstack)
