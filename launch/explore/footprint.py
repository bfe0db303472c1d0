"""Which moves commute: what a step touches, as bit masks.

Two moves commute when neither writes what the other reads or writes, they are not of the same party, and
neither can keep the other from moving. The declarations of the core are taken as they are, with five
exceptions; 1, 2 and 5 keep what is judged exact, the others spare interleavings that nobody can tell apart.

1. claims and heap are one resource, as heap_lock makes them in Xen: an invariant that compares the two must
   see every order of changes to either.
2. A paused or dying domain does not begin a hypercall, so pausing, unpausing and killing it touch everything
   it does.
3. DOMAINS is dropped from a step that names its domain: within a small world no domid is used twice, so a
   new domain cannot be the one named.
4. A global lock held for one step only is none between two such steps.
5. A visit of a list reads the domain that is next now, not the one that was when the list got so far.
"""

from __future__ import annotations

from typing import Final

from hypervisor.core.host import Host
from hypervisor.core.steps import CLAIMS, DOMAINS, EVERYBODY, HEAP, MEDIATION, Resource, Step, domain_resource
from hypervisor.public.units import DOMID_DOM0, DomId

Footprint = tuple[int, int]
"""(reads, writes), one bit a resource."""

NOTHING: Final[Footprint] = (0, 0)
LOCKED_FOR_ONE_STEP: Final = frozenset({"create", "max_mem", "pause", "unpause", "physinfo", "getdomaininfo"})
LISTS: Final = frozenset({"visit", "getdomaininfo"})
ENDS_OR_HOLDS: Final = frozenset({"pause", "unpause", "kill", "relinquish"})
"""Steps that decide whether a domain's own hypercalls go on."""


def commute(one: Footprint, other: Footprint) -> bool:
    """True when neither writes what the other touches."""
    return not (one[1] & (other[0] | other[1]) or other[1] & one[0])


class Footprints:
    """Gives every resource its bit and remembers the masks of steps already seen."""

    def __init__(self) -> None:
        self._bits: dict[Resource, int] = {}
        self._known: dict[tuple[Step, DomId, DomId | None, bool], Footprint] = {}

    def of(self, step: Step, domid: DomId, host: Host) -> Footprint:
        """What `step`, done on behalf of `domid`, would touch now."""
        listed = host.next_domain(_first_named(step)) if step.name in LISTS else None
        mediated = host.mediation.mediator is not None and domid != DOMID_DOM0
        key = (step, domid, listed, mediated)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._footprint(step, domid, listed, mediated)
        return found

    def _footprint(self, step: Step, domid: DomId, listed: DomId | None, mediated: bool) -> Footprint:
        reads, writes = set(step.reads), set(step.writes)
        if step.name in LISTS:
            reads |= set() if listed is None else {domain_resource(listed)}
        elif EVERYBODY not in reads and any(kind == "domain" for kind, _ in reads | writes):
            reads.discard(DOMAINS)
        if mediated and MEDIATION in reads:
            writes.add(MEDIATION)  # it takes a ticket, or uses one up
        if step.lock is not None:
            (reads if step.name in LOCKED_FOR_ONE_STEP else writes).add(("lock", step.lock))
        if domid != DOMID_DOM0:
            reads.add(("life", domid))
        if step.name in ENDS_OR_HOLDS:
            writes |= {("life", number) for kind, number in step.writes if kind == "domain"}
        return self._mask(reads), self._mask(writes)

    def _mask(self, resources: set[Resource]) -> int:
        mask = 0
        for one in sorted(resources, key=repr):
            merged = HEAP if one == CLAIMS else one
            mask |= 1 << self._bits.setdefault(merged, len(self._bits))
        return mask


def _first_named(step: Step) -> DomId:
    named = [number for kind, number in step.reads if kind == "domain" and isinstance(number, int)]
    return named[0] if named else DOMID_DOM0 + 1
