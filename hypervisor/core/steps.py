"""Atomic steps: what a request is made of, and what may run between.

A request is a generator. It yields the `Step` it will do NEXT and is resumed to do it, so whoever
schedules knows beforehand what every waiting caller is about to read and write. The code between two
yields is one atomic step: what Xen does under one hold of a lock (section 7b).
"""

from collections.abc import Generator
from typing import Final, TypeVar

from msgspec import Struct

from hypervisor.public.requests import Event, Value
from hypervisor.public.units import DOMID_DOM0, DomId

Resource = tuple[str, int | str]
"""Something a step may read or write: ("heap", 0), ("domain", 5), ("xenstore", "/local/...")."""

HEAP: Final[Resource] = ("heap", 0)
"""total_avail_pages, the free lists and the low-memory threshold (heap_lock)."""
CLAIMS: Final[Resource] = ("claims", 0)
"""outstanding_claims of the host (heap_lock)."""
DOMAINS: Final[Resource] = ("domains", 0)
"""The list of domains."""
EVERYBODY: Final[Resource] = ("everybody", 0)
"""Read by a step that looks at all domains there are, also those made after it was declared."""
REFERENCES: Final[Resource] = ("references", 0)
"""Page references held by foreign mappings."""

DOMCTL_LOCK: Final = "domctl"
SYSCTL_LOCK: Final = "sysctl"


MEDIATION: Final[Resource] = ("mediation", 0)
"""Who waits for the toolstack's word (P5's counterfactual)."""


def domain_resource(domid: DomId) -> Resource:
    """tot_pages, max_pages, claim and flags of one domain (page_alloc_lock)."""
    return ("domain", domid)


def p2m_resource(domid: DomId) -> Resource:
    """One domain's physmap (p2m lock)."""
    return ("p2m", domid)


STEPS_KEPT: Final = 1 << 14
"""Domids for which a request keeps the steps it declares: the same whenever that domain is named again."""


# Structs, not dataclasses: they are made for every request, at a fifth of the cost.
class Step(Struct, frozen=True):
    """One atomic step, declared before it is done. Reads and writes may be wider than what happens."""

    name: str
    reads: frozenset[Resource]
    writes: frozenset[Resource]
    lock: str | None = None
    """Global lock held while it runs; kept between consecutive steps that name the same one (P9)."""
    restart: bool = False
    """A hypercall continuation: the lock is dropped before this step and must be won again."""
    sleeps: bool = False
    """The vcpu is paused before this step: it is done after `Host.resumed` has named the domain, or never."""
    awaits: int | None = None
    """A ticket: it cannot be done before a mediator has answered it (P5's counterfactual)."""


def step(
    name: str,
    reads: tuple[Resource, ...] = (),
    writes: tuple[Resource, ...] = (),
    lock: str | None = None,
    restart: bool = False,
    sleeps: bool = False,
) -> Step:
    """A `Step` from tuples of resources."""
    return Step(name, frozenset(reads), frozenset(writes), lock, restart, sleeps)


class Caller(Struct, frozen=True):
    """Who asks: a domain in one of its lives. Domain 0 is the control domain, which may do anything."""

    domid: DomId
    incarnation: int = 0

    @property
    def privileged(self) -> bool:
        """True for the control domain (XSM_PRIV)."""
        return self.domid == DOMID_DOM0


class Emission(Struct, frozen=True):
    """An event that leaves the core as a value. `to` None: everyone who listens for that VIRQ."""

    to: Caller | None
    event: Event


class Result(Struct, frozen=True):
    """What a finished request answers, before the commit numbers are known."""

    ret: int
    value: Value | None = None


Steps = Generator[Step, None, Result]
"""A request in progress."""
_T = TypeVar("_T")
Part = Generator[Step, None, _T]
"""A part of a request that may take several steps."""
