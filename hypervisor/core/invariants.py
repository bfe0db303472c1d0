"""Do the books balance? The invariants of one state of a host, and which release may break which.

`check_counters` costs O(domains) and suits every step; `check_frames` walks the heap, the frame table and
the physmaps. What only two successive states can tell (I4, I6, I9, how a break came about) is in
transitions.py. A break is a value, not an exception: some releases break some invariants, as Xen did, and
`PERMITTED` names the rule that says so. Any other break is a bug.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hypervisor.core.allocation import IN_FLIGHT
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.heap.frames import FREE, FrameTable
from hypervisor.core.host import Host
from hypervisor.core.pod.invariants import pod_faults
from hypervisor.core.releases import RELEASES, Release
from hypervisor.core.retire import OFFLINED
from hypervisor.core.sharing.invariants import sharing_faults
from hypervisor.core.steps import Step, domain_resource
from hypervisor.core.tmem.state import TMEM_OWNER
from hypervisor.public.units import DOMID_COW, DOMID_XEN, MAX_ORDER, Mfn, Pages


@dataclass(frozen=True, slots=True)
class Broken:
    """One invariant that does not hold."""

    invariant: str
    """I1..I11 of the debate, or what part of the structure is wrong: "heap", "frames", "p2m", "domain"."""
    form: str
    """Which of the known ways it is broken in; "" when there is only one."""
    detail: str
    """The figures, pages unless said otherwise."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A break that the named releases of Xen show as well."""

    invariant: str
    form: str
    releases: tuple[str, ...]
    rule: str


ALL: Final = tuple(RELEASES)
WITH_TMEM: Final = ("4.3", "4.12")
UP_TO_4_21: Final = ("4.3", "4.12", "4.17", "4.21")
FROM_4_22: Final = ("4.22", "claim-sets")
RELEASED: Final = (*UP_TO_4_21, "4.22")

PERMITS: Final = (
    Permit("I2", "leak", UP_TO_4_21, "C9, z01: a claim made on a dying domain stays when the domain goes"),
    Permit("I3", "window", UP_TO_4_21, "C27: free falls under heap_lock, the claim later in assign_pages"),
    Permit("I3", "debt", UP_TO_4_21, "C27: what was admitted inside a window stays when the window closes"),
    Permit("I3", "overclaim", UP_TO_4_21, "C14, race2: free - claims wraps in the window, any claim passes"),
    Permit(
        "I3",
        "lean twice",
        UP_TO_4_21,
        "C27, P1: until assign draws it down, two extents in flight may lean on the same claim (C17 ii)",
    ),
    Permit("I3", "nominated", ("4.3", "4.12", "4.17"), "C28, S6: a claim grows, and nothing was freed"),
    Permit("I3", "donated", WITH_TMEM, "C28, T23: a page of the tmem list goes to a domain past all claims"),
    Permit("I3", "offlined", RELEASED, "C28, W9: offlining takes free pages and recalls no claim"),
    Permit(
        "I3", "overclaim offlined", RELEASED, "C14, W9: free - claims wraps once claims exceed what is left"
    ),
    Permit("I4", "in flight", FROM_4_22, "DSM-1, C23: alloc spent the claim, a new one came before assign"),
    Permit("I4", "last sharer", ALL, "S9a: page_make_private looks at no max_pages"),
    Permit("I5", "killed", ALL, "C30, P10: is_dying is set one step before the claim is dropped"),
    Permit("I5", "zombie", UP_TO_4_21, "C9, z02: a claim on a dying domain is accepted"),
    Permit("I6", "debt", UP_TO_4_21, "C17 a: a claim that covers the request skips the host's test"),
    Permit("I6", "debt offlined", RELEASED, "C17 a, W9: a claim still covers a request after offlining"),
    Permit("I6", "shortfall", ("claim-sets",), "N5: unclaimed pages and the own claim cover it together"),
    Permit("I6", "donated", WITH_TMEM, "T23: a page of the tmem list goes to a domain past all claims"),
    Permit("I9", "populate: claims", FROM_4_22, "C23: a refused assign leaves the claim consumed"),
    Permit("I9", "populate: low memory", ALL, "A12, A27: the extent left the pool before it was refused"),
    Permit("I9", "decrease: claims", ("4.3", "4.12", "4.17"), "A11, C21: pages before the hole regrow it"),
    Permit("I9", "decrease: counters", ALL, "A11: the pages before the hole are gone"),
    Permit("I9", "decrease: heap", ALL, "A11: the pages before the hole are gone"),
    Permit("I9", "decrease: frames", ALL, "A11: the pages before the hole are gone"),
    Permit("I9", "decrease: p2m", ALL, "A11: the pages before the hole are gone"),
    Permit("I9", "decrease at once: p2m", ALL, "A11, A30: entries without a page are gone, beside a hole"),
    Permit("I9", "exchange: low memory", ALL, "A17, A27: output left the pool before the refusal"),
    Permit("I9", "exchange progress: low memory", ALL, "A17, A27: output left the pool"),
    Permit("I9", "exchange progress: heap", ALL, "A17: chunks done before the failure stay"),
    Permit("I9", "exchange progress: frames", ALL, "A17: chunks done before the failure stay"),
    Permit("I9", "exchange progress: p2m", ALL, "A17: chunks done before the failure stay"),
    Permit("I9", "createdomain: low memory", ALL, "A31, A27: some structures were taken and given back"),
    Permit("I9", "paging pool: counters", ALL, "A31: a refused change of the pool keeps what it got"),
    Permit("I9", "paging pool: heap", ALL, "A31: a refused change of the pool keeps what it got"),
    Permit("I9", "paging pool: frames", ALL, "A31: a refused change of the pool keeps what it got"),
    Permit("I9", "paging pool: low memory", ALL, "A31, A27"),
    Permit("I9", "offline: counters", ALL, "C28: the frames before the bad one are out of service"),
    Permit("I9", "offline: heap", ALL, "C28: the frames before the bad one are out of service"),
    Permit("I9", "offline: frames", ALL, "C28: the frames before the bad one are out of service"),
    Permit("I9", "offline: claims", ("claim-sets",), "N7: claims on the frames before the bad one came down"),
    Permit(
        "I9", "through tmem", WITH_TMEM, "T10, T21, T26: what was evicted on the way, or replaced, is gone"
    ),
    Permit("I9", "decrease: low memory", ALL, "A11, S9, A27: pages were made private before the refusal"),
    Permit("I9", "unshare: claims", FROM_4_22, "C23: a refused assign leaves the claim consumed"),
    Permit("I9", "unshare: low memory", ALL, "A12, A27: the copy left the pool before it was refused"),
    *(
        Permit("I9", f"map foreign: {part}", ALL, "S9, A30: pages made private, or populated, stay so")
        for part in ("claims", "counters", "heap", "frames", "p2m", "low memory")
    ),
    Permit("I9", "access: counters", ALL, "A30: a sweep in vain, and the domain crashed"),
    *(
        Permit("I9", f"pod target: {part}", ALL, "A29: a refused set_pod_target keeps what it got")
        for part in ("claims", "counters", "heap", "frames", "p2m", "low memory")
    ),
    Permit("I9", "sharing: counters", ALL, "S1, A30: the first operation enables sharing; or a crash"),
    Permit("I9", "unmap: claims", ("4.3", "4.12", "4.17"), "A11, C21: pages freed on the way regrow it"),
    Permit("I9", "unmap: counters", ALL, "A11, A13: references dropped before the bad frame stay dropped"),
    Permit("I9", "unmap: heap", ALL, "A11, A13: references dropped before the bad frame stay dropped"),
    Permit("I9", "unmap: frames", ALL, "A11, A13: references dropped before the bad frame stay dropped"),
)

PERMITTED: Final[Mapping[tuple[str, str, str], str]] = MappingProxyType(
    {(one.invariant, one.form, name): one.rule for one in PERMITS for name in one.releases}
)
"""(invariant, form, release) -> the rule that permits the break there."""


def permitting_rule(broken: Broken, release: Release) -> str | None:
    """The rule by which this release may break the invariant so, None if there is none."""
    return PERMITTED.get((broken.invariant, broken.form, release.name))


def unpermitted(broken: Iterable[Broken], release: Release) -> tuple[Broken, ...]:
    """Those breaks that no rule of the release permits: bugs."""
    return tuple(one for one in broken if permitting_rule(one, release) is None)


def check(host: Host, pending: Iterable[Step] | None = None) -> tuple[Broken, ...]:
    """Every invariant of one state: `check_counters` and `check_frames`."""
    return check_counters(host, pending) + check_frames(host)


def check_counters(host: Host, pending: Iterable[Step] | None = None) -> tuple[Broken, ...]:
    """I1, I2, I3, I5 and I11 from the counters alone.

    `pending` are the declared next steps of the requests under way; with them a claim on a domain just
    killed is told from one on a zombie. None: not known, and a domain still dying is given the benefit.
    """
    return tuple(_counter_breaks(host, None if pending is None else tuple(pending)))


def leaning_pages(host: Host, in_flight: Pages) -> Pages:
    """Those of the pages in flight whose claim is drawn down on arrival: none from 4.22 on (C23, C27)."""
    return 0 if host.release.claim_consumed_at_alloc else in_flight


def _counter_breaks(host: Host, pending: tuple[Step, ...] | None) -> Iterator[Broken]:
    domains = [host.domains[domid] for domid in host.domids]
    free, in_flight = host.heap.total_avail, host.in_flight_pages
    held = sum(domain.tot_pages for domain in domains)
    freeable = 0 if host.tmem is None else host.tmem.freeable
    cow, offlined = host.sharing.nr_shared, host.offlined_pages
    if free + freeable + held + cow + host.xen_pages + in_flight + offlined != host.total_pages:
        yield Broken(
            "I1",
            "",
            f"free {free} + freeable {freeable} + tot {held} + dom_cow {cow} + Xen {host.xen_pages} "
            f"+ in flight {in_flight} + offlined {offlined} is not {host.total_pages}",
        )
    claims = sum(domain.outstanding_pages for domain in domains)
    if claims != host.outstanding_claims:
        form = "leak" if claims < host.outstanding_claims else "short"
        yield Broken("I2", form, f"outstanding_claims {host.outstanding_claims}, sum of claims {claims}")
    excess = host.outstanding_claims - free - freeable
    if excess > 0:
        form = "window" if excess <= leaning_pages(host, in_flight) else "offlined" if offlined else "debt"
        yield Broken(
            "I3",
            form,
            f"outstanding_claims {host.outstanding_claims}, free {free} + {freeable}, in flight {in_flight}",
        )
    for domain in domains:
        yield from _domain_breaks(domain, pending)
    yield from _node_breaks(host, domains)
    if min(free, in_flight, host.xen_pages, host.outstanding_claims, offlined) < 0:
        yield Broken("I1", "negative", f"free {free}, in flight {in_flight}, Xen {host.xen_pages}")


def _node_breaks(host: Host, domains: list[Domain]) -> Iterator[Broken]:
    """I11: claims on single nodes add up, by node and by domain, and a node has what is claimed of it."""
    claimed = dict.fromkeys(range(host.heap.node_count), 0)
    for domain in domains:
        parts = sum(domain.claims.values())
        least = min(domain.claims.values(), default=0)
        if least < 0 or not parts == domain.node_claims <= domain.outstanding_pages:
            figures = f"{domain.claims} is not {domain.node_claims} of {domain.outstanding_pages}"
            yield Broken("I11", "domain", f"domain {domain.domid}: {figures}")
        for node, pages in domain.claims.items():
            claimed[node] += pages
    for node, pages in claimed.items():
        counted = host.node_outstanding_claims.get(node, 0)
        if counted != pages:
            yield Broken("I11", "node", f"node {node}: outstanding {counted}, sum of claims {pages}")
        if counted > host.heap.node_avail(node):
            free = host.heap.node_avail(node)
            yield Broken("I11", "cover", f"node {node}: outstanding {counted}, free {free}")


def _domain_breaks(domain: Domain, pending: tuple[Step, ...] | None) -> Iterator[Broken]:
    name = f"domain {domain.domid}"
    if min(domain.tot_pages, domain.max_pages, domain.outstanding_pages, domain.pause_count) < 0:
        yield Broken("domain", "negative", f"{name}: {domain.tot_pages}, {domain.outstanding_pages}")
    if domain.is_dying == Dying.ALIVE or not domain.outstanding_pages:
        return
    if pending is None:
        killed = domain.is_dying == Dying.DYING
    else:
        this = domain_resource(domain.domid)
        killed = any(step.name in ("flush tmem", "unclaim") and this in step.writes for step in pending)
    form = "killed" if killed else "zombie"
    yield Broken("I5", form, f"{name} is {domain.is_dying.name.lower()}, claim {domain.outstanding_pages}")


def check_frames(host: Host) -> tuple[Broken, ...]:
    """The structure under the counters: every frame is free or owned, once, and mapped at most once.

    Needs a heap of real frames; costs O(runs of frames + mapped leaves).
    """
    domains = [host.domains[domid] for domid in host.domids]
    parts = (
        _heap_breaks(host),
        _owner_breaks(host),
        _offlining_breaks(host),
        _tiling_breaks(host),
        _reference_breaks(host),
    )
    found = [broken for part in parts for broken in part]
    found += [Broken("sharing", "", detail) for detail in sharing_faults(host)]
    found += [Broken("pod", "", detail) for domain in domains for detail in pod_faults(host, domain)]
    return (*found, *(broken for domain in domains for broken in _p2m_breaks(host, domain)))


def _heap_breaks(host: Host) -> Iterator[Broken]:
    heap = host.heap
    blocks = dict(heap.free_blocks())
    free = sum(1 << order for order in blocks.values())
    nodes = sum(heap.node_avail(node) for node in range(heap.node_count))
    if not free == nodes == heap.total_avail:
        yield Broken(
            "heap", "count", f"free blocks {free}, nodes {nodes}, total_avail_pages {heap.total_avail}"
        )
    for mfn, order in blocks.items():
        buddy = mfn ^ (1 << order)
        if mfn & ((1 << order) - 1):
            yield Broken("heap", "alignment", f"free block at mfn {mfn} of order {order}")
        if order < MAX_ORDER and mfn < buddy and blocks.get(buddy) == order and _same_node(host, mfn, buddy):
            yield Broken("heap", "unmerged", f"buddies of order {order} at mfn {mfn} and {buddy} (A23)")


def _same_node(host: Host, one: Mfn, other: Mfn) -> bool:
    return host.heap.node_of(one) == host.heap.node_of(other)


def _owner_breaks(host: Host) -> Iterator[Broken]:
    """Counters against the frame table. Inside an exchange pages in flight still stand in tot_pages."""
    frames = host.frames
    known = (DOMID_XEN, IN_FLIGHT, TMEM_OWNER, OFFLINED, DOMID_COW)
    for owner in frames.owners():
        if owner not in host.domains and owner not in known:
            yield Broken("frames", "orphan", f"{frames.held(owner)} pages of absent domain {owner}")
    if frames.held(DOMID_XEN) != host.xen_pages:
        yield Broken("frames", "Xen", f"{frames.held(DOMID_XEN)} owned, {host.xen_pages} counted")
    if host.tmem is not None and frames.held(TMEM_OWNER) != host.tmem.freeable:
        yield Broken("frames", "tmem", f"{frames.held(TMEM_OWNER)} owned, {host.tmem.freeable} freeable")
    under_exchange = 0
    for domid in host.domids:
        missing = host.domains[domid].tot_pages - frames.held(domid)
        if missing < 0:
            yield Broken("frames", "uncounted", f"domain {domid} owns {-missing} more than tot_pages")
        under_exchange += missing
    in_flight = frames.held(IN_FLIGHT)
    if in_flight != host.in_flight_pages + under_exchange:
        yield Broken(
            "frames",
            "in flight",
            f"{in_flight} owned, {host.in_flight_pages} counted, {under_exchange} under exchange",
        )
    for domid in host.domids:
        domain = host.domains[domid]
        for mfn in (*domain.structure_frames, *domain.paging_pool):
            if frames.owner(mfn) != DOMID_XEN:
                yield Broken("frames", "Xen", f"mfn {mfn} of domain {domid}'s cost is not Xen's")


def _offlining_breaks(host: Host) -> Iterator[Broken]:
    """Frames out of service are counted, and one that is to leave when it is freed is somebody's yet."""
    held = host.frames.held(OFFLINED)
    if held != host.offlined_pages:
        yield Broken("frames", "offlined", f"{held} owned, {host.offlined_pages} counted")
    for mfn in sorted(host.offlining):
        if host.frames.owner(mfn) in (FREE, OFFLINED):
            yield Broken("frames", "offlined", f"mfn {mfn} is to go when freed, and free or gone")


def _tiling_breaks(host: Host) -> Iterator[Broken]:
    """Free blocks and owned runs must cover RAM without gap or overlap: no frame both free and owned."""
    pieces = [(mfn, 1 << order, FREE) for mfn, order in host.heap.free_blocks()]
    for owner in host.frames.owners():
        pieces += [(mfn, count, owner) for mfn, count in _runs(host.frames, owner, host.total_pages)]
    pieces.sort()
    end = 0
    for mfn, count, owner in pieces:
        if mfn != end:
            what = "overlap" if mfn < end else "gap"
            yield Broken("frames", what, f"at mfn {min(mfn, end)}, before {count} pages of {owner:#x}")
        end = max(end, mfn + count)
    if end != host.total_pages:
        yield Broken("frames", "gap", f"from mfn {end} to {host.total_pages}")


def _runs(frames: FrameTable, owner: int, limit: Pages) -> Iterator[tuple[Mfn, Pages]]:
    cursor = 0
    while (run := frames.next_run(owner, cursor, limit)) is not None:
        yield run
        cursor = run[0] + run[1]


def _reference_breaks(host: Host) -> Iterator[Broken]:
    for mfn in sorted(host.dangling):
        domid = host.dangling[mfn]
        if host.frames.owner(mfn) != domid or not host.frames.references(mfn):
            yield Broken("frames", "dangling", f"mfn {mfn} of domain {domid} is not held by a mapping")


def _p2m_breaks(host: Host, domain: Domain) -> Iterator[Broken]:
    """A dying domain's map is left out: nobody runs on it, and it is thrown away as a whole."""
    if domain.p2m is None or domain.is_dying != Dying.ALIVE:
        return
    # A shared frame may stand behind several gfns; who shares it is the business of sharing_faults.
    leaves = sorted(
        (mfn, 1 << order) for gfn, mfn, order in domain.p2m.leaves() if gfn not in domain.shared_gfns
    )
    if sum(count for _, count in leaves) + len(domain.shared_gfns) != domain.p2m.entries:
        yield Broken("p2m", "count", f"domain {domain.domid}: {domain.p2m.entries} entries")
    start = end = 0
    for mfn, count in leaves:
        if mfn < end:
            yield Broken("p2m", "twice", f"domain {domain.domid}: mfn {mfn} mapped at two gfns")
        if mfn > end:
            yield from _foreign_breaks(host, domain, start, end)
            start = mfn
        end = max(end, mfn + count)
    yield from _foreign_breaks(host, domain, start, end)


def _foreign_breaks(host: Host, domain: Domain, frame: Mfn, end: Mfn) -> Iterator[Broken]:
    """The frames from `frame` to `end` are mapped, so they must be the domain's."""
    frames = host.frames
    while frame < end:
        frame += frames.run_length(frame, domain.domid, end - frame)
        # Stolen by an exchange, a page is still mapped until its replacement is certain (A17).
        while frame < end and (owner := frames.owner(frame)) != domain.domid:
            if owner != IN_FLIGHT:
                yield Broken("p2m", "foreign", f"domain {domain.domid} maps mfn {frame} of another")
            frame += 1
