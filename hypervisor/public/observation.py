"""Looking at a host from outside: no hypercall, and nothing that Xen has.

Whoever knows the observers' secret sends `Observe` to the socket "observers" and gets a `Snapshot` of the
host between two atomic steps. It takes no step, no lock, no commit number and leaves no journal record: a run
that is watched is the same run. One message is one ZeroMQ frame holding one msgpack array, as on the other
sockets (`public/protocol.py`). The hypervisor looks at this socket every 100 real ms, so an answer takes that
long, and everybody who asked meanwhile gets the same figures.
"""

from typing import Final

import msgspec
from msgspec import Struct

from hypervisor.public.units import U64, Commit, DomId, NodeId, Pages, Seconds

OBSERVERS: Final = "observers"
"""The role of the socket, beside "guests" and "toolstacks"."""
OBSERVATION_VERSION: Final = 1


class Observe(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Send me a `Snapshot`."""

    version: int  # in: OBSERVATION_VERSION
    secret: bytes  # in: the observers' secret
    nonce: U64 = 0  # in: comes back in the answer


class NodeSnapshot(Struct, frozen=True, array_like=True):
    """One NUMA node, in pages."""

    node: NodeId
    total_pages: Pages
    free_pages: Pages
    outstanding_pages: Pages  # claims on this node alone, 0 without claim sets (N4)


class DomainSnapshot(Struct, frozen=True, array_like=True):
    """One domain, in pages: all fields of one moment, which `DomainInfo` does not promise (C35)."""

    domid: DomId
    incarnation: int
    name: str  # what its guest called itself in its Hello; "" without one
    flags: int  # DOMINF_*, as getdomaininfo answers them
    is_dying: bool  # also while it is dying: DOMINF_dying tells only of the dead (C35)
    tot_pages: Pages
    max_pages: Pages
    outstanding_pages: Pages
    shr_pages: Pages
    xen_pages: Pages  # what Xen spends on it beside tot_pages: structures, paging pool
    vcpus: int
    operations: int  # requests it has had answered; dom0's are those of all toolstacks


class RefusedAllocations(Struct, frozen=True, array_like=True):
    """Allocations refused so far to one domain (dead ones included), from one source, for one reason."""

    domid: DomId
    source: str  # "balloon populate", "build", ... (hypervisor.core.sources.Source)
    reason: str  # "claim", "max_pages", "empty heap", ... (hypervisor.core.sources.Reason)
    times: int
    pages: Pages  # of the extents that were refused


class UnderwaySnapshot(Struct, frozen=True, array_like=True):
    """One request that has been taken in and has no reply yet."""

    operation: int  # its number, as in the journal
    domid: DomId  # the caller
    incarnation: int
    request: str  # "PopulatePhysmap", ...
    step: str  # what it will do next
    parked: bool  # it waits for its domain to run


class Snapshot(Struct, frozen=True, array_like=True, tag=1):
    """A host between two atomic steps; quantities are pages. Counts are since the hypervisor's start."""

    nonce: int
    release: str
    commit: Commit
    """The last atomic step done."""
    seconds: Seconds
    """Emulated; -1 before emulated time begins."""
    total_pages: Pages
    free_pages: Pages
    outstanding_pages: Pages
    """Claimed by all domains together; part of free_pages."""
    xen_pages: Pages
    tmem_pages: Pages
    """Ephemeral pages and lists of tmem, which belong to no domain and can be had back (T19)."""
    calls: int
    """Messages with requests taken in."""
    requests: int
    """Requests taken in: a multicall is several."""
    steps: int
    """Atomic steps done."""
    nodes: tuple[NodeSnapshot, ...]
    domains: tuple[DomainSnapshot, ...]
    """By ascending domid, dom0 first."""
    growth: dict[str, Pages]
    """Pages added to tot_pages by source (hypervisor.core.sources.Source)."""
    refused: tuple[RefusedAllocations, ...]
    wire_refusals: dict[str, int]
    """Messages refused by the wire, by WireError value."""
    underway: tuple[UnderwaySnapshot, ...]


class ObservationRefused(Struct, frozen=True, array_like=True, tag=2):
    """No snapshot: the message could not be read ("malformed"), or its secret is wrong ("bad-secret")."""

    error: str  # a WireError value
    text: str


Observed = Snapshot | ObservationRefused

OBSERVE: Final = msgspec.msgpack.Decoder(Observe)
OBSERVED: Final = msgspec.msgpack.Decoder(Observed)
