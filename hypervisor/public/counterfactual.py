"""Requests that no Xen has: each is one counterfactual of the debate, so that it can be tried and measured.

None of them is used unless a scheme asks for it, and none changes what any other request answers before it
has been asked for. They are numbered above Xen's own domctls. Control domain only, anyone else gets EPERM.
"""

from msgspec import Struct

from hypervisor.public.domctl import DOMCTL
from hypervisor.public.units import U16, U32, U64, Commit, DomId, Pages


class MaxMemBatch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 0xF0):
    """Hypothesis H4, not in Xen: many XEN_DOMCTL_max_mem and a reading of all domains in ONE step.

    What Campbell's "immediately check" would be at its very best. A domain that does not exist is passed
    over. Answers the number of domains read; the value is `DomainInfoList`, all but the control domain.
    """

    limits: tuple[tuple[U16, U64], ...]  # in: (domid, max_memkb in KiB)


class WatchReservations(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 0xF1):
    """P4, not in Xen: have every change of a domain's tot_pages put into a ring of the caller's own.

    A ring that is full loses what comes, and counts it. `RingEvent` says once that it is no longer empty.
    Asking again empties it. Where the host has all the rings it can have, the one that has lost most goes:
    nobody reads it, its toolstack was killed or is of no use. Answers 0; ENOMEM when none has lost any.
    """

    size: U32  # in: changes that the ring holds; 0 stops


class ReadReservations(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 0xF2):
    """P4, not in Xen: take changes out of the caller's ring, oldest first.

    Answers how many; the value is `ReservationChanges`. ENOENT when the caller has no ring.
    """

    most: U32  # in


class Mediate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 0xF3):
    """P5, not in Xen: from now on every guest that wants to grow waits for the caller's word.

    populate_physmap and increase_reservation of an unprivileged caller raise `GrowthEvent` and wait for
    `AnswerGrowth`. Off: whoever waits is allowed. On again: raises the events of all who wait once more.
    Answers 0; EBUSY when another toolstack mediates, unless its place is to be taken: Xen cannot tell a
    toolstack that was killed from one that thinks.
    """

    on: bool  # in
    take_over: bool = False  # in: end what another toolstack has begun


class AnswerGrowth(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=DOMCTL | 0xF4):
    """P5, not in Xen: the word for one request. Denied, it answers as if memory had run out.

    Answers 0; ENOENT for a ticket that nobody waits with.
    """

    ticket: U64  # in: of the GrowthEvent
    allow: bool  # in


Counterfactual = MaxMemBatch | WatchReservations | ReadReservations | Mediate | AnswerGrowth


class ReservationChange(Struct, frozen=True, array_like=True):
    """One change of tot_pages."""

    domid: DomId
    incarnation: int
    tot_pages: Pages  # after it
    free_pages: Pages  # of the host; a page given back is not yet among them
    commit: Commit  # the step that changed it


class ReservationChanges(Struct, frozen=True, array_like=True, tag=90):
    """Value of ReadReservations."""

    changes: tuple[ReservationChange, ...]
    lost: int  # since the last reading: the caller must look at everything again
    waiting: int  # changes left in the ring


CounterfactualValue = ReservationChanges


class RingEvent(Struct, frozen=True, array_like=True, tag=8):
    """P4: the caller's ring holds something. Raised again only after it has been read empty."""

    commit: Commit


class GrowthEvent(Struct, frozen=True, array_like=True, tag=9):
    """P5: a guest waits to be allowed to grow; or, with `finished`, has done what it was allowed to."""

    ticket: int
    domid: DomId
    incarnation: int
    pages: Pages  # wanted; when finished: got
    finished: bool
    commit: Commit


CounterfactualEvent = RingEvent | GrowthEvent
