"""Saying where growth comes from and why memory was refused. No rule reads any of it, no digest holds it.

For whoever adds a place that allocates: after `take_extent` answered None call `note_no_extent`, after
`assign_pages` answered False `note_not_assigned` (both in the very step that was refused, while the state is
still what refused it), and after pages were added to tot_pages `note_growth`, once per call rather than once
per page. A refusal for another reason: `note_refusal`.
"""

from hypervisor.core.allocation import ANYWHERE, Placement, nodes_to_try
from hypervisor.core.claims import allocation_refused, available_pages, node_refused
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.sources import Reason, Refusal, Source
from hypervisor.public.units import DomId, Order, Pages


def note_growth(host: Host, source: Source, pages: Pages) -> None:
    """`pages` have been added to a domain's tot_pages (TMEM_EPHEMERAL: to what tmem holds) by `source`."""
    if pages:
        host.growth[source] = host.growth.get(source, 0) + pages


def note_refusal(host: Host, domid: DomId, pages: Pages, source: Source, reason: Reason) -> None:
    """The step in progress refused `pages` to the domain."""
    host.refusals.append(Refusal(domid, pages, source, reason))


def note_no_extent(
    host: Host,
    domid: DomId,
    source: Source,
    *,
    domain: Domain | None = None,
    order: Order = 0,
    placement: Placement = ANYWHERE,
    no_refcount: bool = False,
) -> None:
    """`take_extent` with these arguments has just answered None; `domid` is whom it was for.

    `domain` is what `take_extent` was given: None for an anonymous allocation, which no claim helps.
    """
    reason = _why_no_extent(host, domain, order, placement, no_refcount)
    note_refusal(host, domid, 1 << order, source, reason)


def note_not_assigned(host: Host, domain: Domain, source: Source, order: Order = 0) -> None:
    """`assign_pages` has just answered False for an extent of this order."""
    reason = Reason.MAX_PAGES if domain.is_dying == Dying.ALIVE else Reason.DYING
    note_refusal(host, domain.domid, 1 << order, source, reason)


def _why_no_extent(
    host: Host, domain: Domain | None, order: Order, placement: Placement, no_refcount: bool
) -> Reason:
    """As in `take_extent`, but memory that is not there at all is no claim's doing."""
    request = 1 << order
    if request > available_pages(host):
        return Reason.EMPTY
    if allocation_refused(host, domain, request, no_refcount):
        return Reason.CLAIM
    if host.release.claim_sets and any(
        host.heap.node_avail(node) >= request and node_refused(host, domain, request, no_refcount, node)
        for node in nodes_to_try(host, domain, placement)
    ):
        return Reason.CLAIM  # N5: on a node that has it, others' claims are on it
    # A single page from anywhere can only be refused when none is free and tmem could not part with one.
    return Reason.FRAGMENTATION if order or placement != ANYWHERE else Reason.EMPTY
