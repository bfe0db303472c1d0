"""P4's event ring: every change of tot_pages, told to a toolstack that reads it when it can."""

from typing import Final

from hypervisor.core.domain import Domain
from hypervisor.core.dynamic import ReservationRing
from hypervisor.core.host import Host
from hypervisor.core.steps import CLAIMS, DOMAINS, Caller, Emission, Result, Steps, step
from hypervisor.public.counterfactual import (
    ReadReservations,
    ReservationChange,
    ReservationChanges,
    RingEvent,
    WatchReservations,
)
from hypervisor.public.errors import Errno

MOST_RINGS: Final = 16
MOST_CHANGES: Final = 1 << 20
"""Largest ring."""
MOST_READ: Final = 1 << 15
"""Changes in one answer, which must fit into one message."""


def note_change(host: Host, domain: Domain) -> None:
    """tot_pages of a domain has just changed. Only called while there are rings."""
    change = ReservationChange(
        domain.domid, domain.incarnation, domain.tot_pages, host.heap.total_avail, host.commit
    )
    for owner, ring in host.rings.items():
        if len(ring.changes) == ring.size:
            ring.lost += 1
            continue
        ring.changes.append(change)
        if ring.armed:
            ring.armed = False
            host.emit(Emission(owner, RingEvent(host.commit)))


def watch_reservations(host: Host, caller: Caller, request: WatchReservations) -> Steps:
    """Make the caller's ring, empty; or drop it."""
    yield step("watch reservations", reads=(DOMAINS,), writes=(CLAIMS,))
    host.rings.pop(caller, None)
    if request.size == 0:
        return Result(0)
    if len(host.rings) >= MOST_RINGS and not _drop_unread(host):
        return Result(-Errno.ENOMEM)
    host.rings[caller] = ReservationRing(min(request.size, MOST_CHANGES))
    return Result(0)


def _drop_unread(host: Host) -> bool:
    """Room for one more: rings that a killed toolstack left fill up and lose all that comes."""
    owner, ring = max(host.rings.items(), key=lambda one: one[1].lost)
    if ring.lost:
        del host.rings[owner]
    return ring.lost > 0


def read_reservations(host: Host, caller: Caller, request: ReadReservations) -> Steps:
    """Take changes out; the ring raises its event again once it has been read empty."""
    yield step("read reservations", reads=(DOMAINS,), writes=(CLAIMS,))
    ring = host.rings.get(caller)
    if ring is None:
        return Result(-Errno.ENOENT)
    taken = tuple(ring.changes.popleft() for _ in range(min(request.most, MOST_READ, len(ring.changes))))
    lost, ring.lost = ring.lost, 0
    ring.armed = not ring.changes
    return Result(len(taken), ReservationChanges(taken, lost, len(ring.changes)))
