"""The state of page sharing on one host: who shares which frame, and who waits for memory (S3, S4, S10)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from hypervisor.core.steps import Caller
from hypervisor.public.units import DomId, Gfn, Mfn, Pages

Sharer = tuple[DomId, Gfn]


@dataclass(slots=True)
class SharedFrame:
    """One frame of dom_cow."""

    handle: int
    gfns: dict[Sharer, None]
    """The reverse map: every p2m entry of type shared that points here, never empty."""


@dataclass(slots=True)
class Ring:
    """A domain's sharing ring, and who listens at its other end."""

    helper: Caller
    paused: list[int] = field(default_factory=list[int])
    """Faults whose vcpu waits for an answer, by number, oldest first."""


@dataclass(slots=True)
class Sharing:
    """Everything the host knows of shared pages. Empty, and free of cost, while nobody shares."""

    frames: dict[Mfn, SharedFrame] = field(default_factory=dict[Mfn, SharedFrame])
    nr_shared: Pages = 0
    """nr_shared_mfns: frames in use as shared, each in dom_cow's hands (S4)."""
    nr_saved: Pages = 0
    """nr_saved_mfns: frames that would be needed if nobody shared (S4)."""
    next_handle: int = 1
    next_fault: int = 1
    rings: dict[DomId, Ring] = field(default_factory=dict[DomId, Ring])

    def digest_parts(self) -> Iterator[bytes]:
        """Counters, frames with their sharers, and rings."""
        yield msgspec.msgpack.encode((self.nr_shared, self.nr_saved))
        for mfn in sorted(self.frames):
            frame = self.frames[mfn]
            yield msgspec.msgpack.encode((mfn, frame.handle, sorted(frame.gfns)))
        for domid in sorted(self.rings):
            ring = self.rings[domid]
            yield msgspec.msgpack.encode((domid, ring.helper.domid, ring.helper.incarnation, ring.paused))
