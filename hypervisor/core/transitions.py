"""What only two successive states of a host can tell: I4, I6, I9, and how a break of I2 or I3 came about.

`Auditor` is told of every step and compares the counters before and after it, O(domains). `trace` compares
everything, for requests that were refused with nobody else moving.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from hypervisor.core.claims import available_pages
from hypervisor.core.domain import Dying
from hypervisor.core.host import Host
from hypervisor.core.invariants import Broken, leaning_pages
from hypervisor.core.steps import Caller, Step
from hypervisor.public.access import ReadPage, WritePage
from hypervisor.public.domctl import (
    CreateDomain,
    DestroyDomain,
    Exchanged,
    MapForeign,
    SetPagingMempoolSize,
    UnmapForeign,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    DecreaseReservation,
    IncreaseReservation,
    MemoryExchange,
    PopulatePhysmap,
)
from hypervisor.public.offlining import PageOfflineOp
from hypervisor.public.pod import SetPodTarget
from hypervisor.public.requests import Reply, Request
from hypervisor.public.sharing import (
    SharingAddPhysmap,
    SharingDebugGfn,
    SharingDebugMfn,
    SharingNominateGfn,
    SharingOther,
    SharingRangeShare,
    SharingShare,
)
from hypervisor.public.units import Pages


@dataclass(frozen=True, slots=True)
class DomainCounters:
    """One domain's counters, pages."""

    tot_pages: Pages
    max_pages: Pages
    outstanding_pages: Pages
    is_dying: Dying


@dataclass(frozen=True, slots=True)
class Counters:
    """A host's counters, pages."""

    free: Pages
    """Free, and freeable by tmem: what claims are held against (C14)."""
    outstanding_claims: Pages
    in_flight: Pages
    leaning: Pages
    """In flight, and still counted in their domains' claims (C27)."""
    offlined: Pages
    """Out of service: what claims were made on before (C28)."""
    domains: Mapping[Caller, DomainCounters]

    @property
    def debt(self) -> Pages:
        """Claims that neither free pages nor those in flight for them could ever honour."""
        return max(0, self.outstanding_claims - self.free - self.leaning)

    @property
    def leaked(self) -> int:
        """Claims that belong to no domain."""
        return self.outstanding_claims - sum(one.outstanding_pages for one in self.domains.values())


def counters(host: Host) -> Counters:
    """The counters as they are now."""
    return Counters(
        free=available_pages(host),
        outstanding_claims=host.outstanding_claims,
        in_flight=host.in_flight_pages,
        leaning=leaning_pages(host, host.in_flight_pages),
        offlined=host.offlined_pages,
        domains={
            Caller(one.domid, one.incarnation): DomainCounters(
                one.tot_pages, one.max_pages, one.outstanding_pages, one.is_dying
            )
            for one in (host.domains[domid] for domid in host.domids)
        },
    )


class Auditor:
    """Judges every step of a host. Must be told of each of them."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._before = counters(host)

    def after(self, step: Step) -> tuple[Broken, ...]:
        """What `step`, just done, broke."""
        before, after = self._before, counters(self._host)
        self._before = after
        return compare(step, before, after)


def compare(step: Step, before: Counters, after: Counters) -> tuple[Broken, ...]:
    """What `step` broke of I2, I3, I4 and I6, by the counters before and after it."""
    return (
        *_leaks(before, after),
        *_debts(step, before, after),
        *_limits(step, before, after),
        *_taken(step, before, after),
    )


def _leaks(before: Counters, after: Counters) -> Iterator[Broken]:
    """I2: the only claims without a domain are those of domains that went (C9)."""
    went = [one for caller, one in before.domains.items() if caller not in after.domains]
    expected = before.leaked + sum(one.outstanding_pages for one in went)
    if after.leaked != expected:
        yield Broken("I2", "drift", f"{after.leaked} pages of claims without a domain, expected {expected}")


def _debts(step: Step, before: Counters, after: Counters) -> Iterator[Broken]:
    """I3: claims come to exceed what could honour them in few ways: the window (C27), tmem, offlining."""
    if after.debt <= before.debt:
        return
    if after.offlined > before.offlined:
        form = "offlined"
    elif step.name == "claim" and before.outstanding_claims > before.free:
        form = "overclaim offlined" if before.offlined else "overclaim"
    elif step.name == "assign" and before.in_flight > after.in_flight:
        form = "lean twice"
    elif step.name == "donate":
        form = "donated"
    elif step.name in ("sharing", "nominate", "share range"):
        form = "nominated"
    else:
        form = "spent"
    yield Broken("I3", form, f"{step.name}: {before.debt} -> {after.debt} pages of claims without cover")


def _limits(step: Step, before: Counters, after: Counters) -> Iterator[Broken]:
    """I4: a new claim fits under max_pages; only a clamp puts tot_pages above it, and nothing adds to it."""
    for caller, now in after.domains.items():
        was = before.domains.get(caller)
        if was is None:
            continue
        over = now.tot_pages + now.outstanding_pages - now.max_pages
        if step.name == "claim" and now.outstanding_pages > was.outstanding_pages and over > 0:
            yield Broken("I4", "install", f"domain {caller.domid}: tot + claim is {over} above max_pages")
        if now.tot_pages > was.tot_pages and now.tot_pages > now.max_pages:
            form = "last sharer" if step.name == "unshare" else "growth"
            yield Broken("I4", form, f"domain {caller.domid}: tot {now.tot_pages}, max {now.max_pages}")
        over_before = was.tot_pages + was.outstanding_pages - was.max_pages
        if now.tot_pages > was.tot_pages and now.outstanding_pages and over > 0 >= over_before:
            yield Broken("I4", "in flight", f"domain {caller.domid}: tot + claim is {over} above max_pages")
        if now.max_pages != was.max_pages and step.name != "max_mem":
            yield Broken("I4", "clamp", f"{step.name} changed max_pages of domain {caller.domid}")


def _taken(step: Step, before: Counters, after: Counters) -> Iterator[Broken]:
    """I6: an unclaimed request never takes a claimed page."""
    pages = before.free - after.free
    if pages <= 0 or after.offlined > before.offlined:
        return  # nothing was taken, or nobody has it
    own = _own_claim(step, before)
    if own < pages:
        if before.outstanding_claims + pages > before.free:
            covered = before.outstanding_claims + pages <= before.free + own
            form = "donated" if step.name == "pop" else "shortfall" if own and covered else "unclaimed"
            yield Broken("I6", form, f"{step.name}: {pages} pages with a claim of {own}")
        return
    others = before.outstanding_claims - own
    if others > after.free + before.leaning:
        form = ("debt offlined" if before.offlined else "debt") if before.debt else "claimed"
        yield Broken("I6", form, f"{step.name}: others' claims {others}, free {after.free}")


def _own_claim(step: Step, before: Counters) -> Pages:
    """The claim that the step could lean on: only a step called "take" that writes its domain has one."""
    if step.name != "take":
        return 0
    domids = [number for kind, number in step.writes if kind == "domain"]
    return sum(one.outstanding_pages for caller, one in before.domains.items() if caller.domid in domids)


def contents(host: Host) -> Mapping[str, bytes]:
    """Digests of the parts of a host, by the names that I9's forms use."""
    domains = [host.domains[domid] for domid in host.domids]
    of_domains = [(one.outstanding_pages, sorted(one.claims.items())) for one in domains]
    claims = (host.outstanding_claims, of_domains, sorted(host.node_outstanding_claims.items()))
    figures = [
        (
            (one.domid, one.incarnation, one.tot_pages, one.max_pages),
            (one.shr_pages, one.is_shut_down, one.mem_sharing_enabled),
            (int(one.is_dying), one.pause_count, len(one.structure_frames), len(one.paging_pool)),
        )
        for one in domains
    ]
    marked = (sorted(host.dangling.items()), sorted(host.offlining))
    totals = (host.heap.total_avail, host.xen_pages, host.in_flight_pages, host.offlined_pages)
    return {
        "claims": _digest([msgspec.msgpack.encode(claims)]),
        "counters": _digest([msgspec.msgpack.encode((figures, totals))]),
        "low memory": _digest([msgspec.msgpack.encode(host.low_memory.content())]),
        "heap": _digest(host.heap.digest_parts()),
        "frames": _digest(
            (
                *host.frames.digest_parts(),
                *host.sharing.digest_parts(),
                *host.contents.digest_parts(),
                repr(marked).encode(),
            )
        ),
        "p2m": _digest(
            part
            for one in domains
            if one.p2m is not None
            for part in (*one.p2m.digest_parts(), *one.pod.digest_parts())
        ),
        "store": _digest(host.store.digest_parts()),
        "tmem": _digest(host.tmem.digest_parts() if host.tmem is not None else ()),
    }


def _digest(parts: Iterable[bytes]) -> bytes:
    content = hashlib.blake2b(digest_size=16)
    for part in parts:
        content.update(part)
    return content.digest()


def refused(request: Request, reply: Reply) -> bool:
    """True when nothing, or not one whole extent, of what was asked was done."""
    if isinstance(request, PopulatePhysmap | IncreaseReservation | DecreaseReservation):
        return reply.ret < 0 or reply.ret == request.start_extent
    if isinstance(request, DestroyDomain) and reply.ret == -Errno.EAGAIN:
        return False  # C31: 4.3 reports every slice; this is progress
    if isinstance(request, SharingRangeShare):
        return False  # it skips what it cannot share, and stops where a domain is killed: progress as well
    return reply.ret < 0


def trace(
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    request: Request,
    reply: Reply,
    steps: Sequence[str],
) -> tuple[Broken, ...]:
    """I9: a refused request leaves no trace. `steps` are the names of the steps it did, alone on the host."""
    if not refused(request, reply):
        return ()
    if before["tmem"] != after["tmem"]:
        return (Broken("I9", "through tmem", f"{request} was refused with {reply.ret}; tmem is changed"),)
    extents = isinstance(
        request, PopulatePhysmap | IncreaseReservation | DecreaseReservation | MemoryExchange
    )
    kind = _kind(request, reply)
    if extents and len(steps) == 1:
        kind = "decrease at once" if isinstance(request, DecreaseReservation) else "at once"
    return tuple(
        Broken("I9", f"{kind}: {part}", f"{request} was refused with {reply.ret} after {', '.join(steps)}")
        for part in before
        if before[part] != after[part]
    )


def _kind(request: Request, reply: Reply) -> str:
    match request:
        case PopulatePhysmap() | IncreaseReservation():
            return "populate"
        case DecreaseReservation():
            return "decrease"
        case MemoryExchange():
            value = reply.value
            moved = isinstance(value, Exchanged) and value.nr_exchanged > request.nr_exchanged
            return "exchange progress" if moved else "exchange"
        case CreateDomain():
            return "createdomain"
        case SetPagingMempoolSize():
            return "paging pool"
        case UnmapForeign():
            return "unmap"
        case PageOfflineOp():
            return "offline"
        case MapForeign():
            return "map foreign"
        case WritePage() | ReadPage():
            return "unshare" if reply.ret == -Errno.ENOMEM else "access"
        case SetPodTarget():
            return "pod target"
        case (
            SharingNominateGfn()
            | SharingShare()
            | SharingAddPhysmap()
            | SharingDebugGfn()
            | SharingDebugMfn()
            | SharingOther()
        ):
            return "sharing"
        case _:
            return "other"
