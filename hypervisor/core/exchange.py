"""XENMEM_exchange: memory of one shape for memory of another (rule A17, memory.c:memory_exchange).

Input is stolen without lowering tot_pages, output is taken outside tot_pages, so the net change is 0
and no claim helps or moves.
"""

from functools import lru_cache

from hypervisor.core.allocation import (
    IN_FLIGHT,
    Placement,
    complete_destroy_if_empty,
    give_back,
    take_extent,
)
from hypervisor.core.claims import adjust_tot_pages
from hypervisor.core.decrease import lookup_page
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.refusals import note_no_extent
from hypervisor.core.reservation import (
    append_extent,
    extents_from,
    map_extent,
    max_order,
    may_target,
    placement_of,
)
from hypervisor.core.sources import Source
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    HEAP,
    REFERENCES,
    STEPS_KEPT,
    Caller,
    Result,
    Step,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.public.domctl import Exchanged
from hypervisor.public.errors import Errno
from hypervisor.public.memory import MemoryExchange
from hypervisor.public.units import DOMID_SELF, ULONG_MASK, Gfn, Mfn, Run, runs_length


class _Exchange:
    """One exchange in progress: its shape, and what it holds between steps."""

    def __init__(self, host: Host, domain: Domain, request: MemoryExchange, placement: Placement) -> None:
        self.host = host
        self.domain = domain
        self.request = request
        self.placement = placement
        spread = request.out_extent_order - request.in_extent_order
        self.in_per_chunk = 1 << max(spread, 0)
        self.out_per_chunk = 1 << max(-spread, 0)
        # Xen resumes at the chunk that nr_exchanged lies in, at its first extent (A17)
        chunks_done = request.nr_exchanged // self.in_per_chunk
        self.inputs = extents_from(
            request.in_extents, request.in_extent_order, chunks_done * self.in_per_chunk
        )
        self.outputs = extents_from(
            request.out_extents, request.out_extent_order, chunks_done * self.out_per_chunk
        )
        self.stolen: list[tuple[Gfn, Mfn]] = []
        self.taken: list[Mfn] = []
        self.frames: list[Run] = []

    def steal(self) -> int:
        """Take one chunk of input from the domain: 0, or the errno of a page that cannot be taken."""
        order = self.request.in_extent_order
        for _ in range(self.in_per_chunk):
            first = next(self.inputs)
            for frame in range(first, first + (1 << order)):
                if frame in self.domain.shared_gfns:
                    return -Errno.ENOMEM  # A17: a shared page is not exchanged
                mfn = lookup_page(self.host, self.domain, frame)
                if mfn is None or self.host.frames.references(mfn):
                    return -Errno.EINVAL
                if self.host.frames.owner(mfn) != self.domain.domid:
                    return -Errno.EINVAL  # named twice in one chunk
                self.host.frames.set_owner(mfn, 0, IN_FLIGHT, self.domain.domid)
                self.stolen.append((frame, mfn))
        return 0

    def take(self) -> bool:
        """One output extent, outside tot_pages: unclaimed memory only (C17, C20)."""
        # 4.3 allocates with no domain at all, later releases with MEMF_no_owner; the test is the same
        owner = self.domain if self.host.release.no_refcount_barred_from_claim else None
        order = self.request.out_extent_order
        mfn = take_extent(self.host, owner, order, self.placement, no_refcount=True)
        if mfn is None:
            note_no_extent(
                self.host,
                self.domain.domid,
                Source.EXCHANGE,
                domain=owner,
                order=order,
                placement=self.placement,
                no_refcount=True,
            )
            return False
        self.taken.append(mfn)
        return True

    def undo(self) -> None:
        """Give the output back to the heap and the input back to the domain."""
        for mfn in self.taken:
            give_back(self.host, mfn, self.request.out_extent_order)
        for _, mfn in self.stolen:
            self._return_input(mfn)
        self.taken.clear()
        self.stolen.clear()
        complete_destroy_if_empty(self.host, self.domain)

    def _return_input(self, mfn: Mfn) -> None:
        if self.domain.is_dying == Dying.ALIVE:
            self.host.frames.set_owner(mfn, 0, self.domain.domid, IN_FLIGHT)
            return
        adjust_tot_pages(self.host, self.domain, -1)  # killed meanwhile: nobody to return it to
        self.host.in_flight_pages += 1
        give_back(self.host, mfn, 0)

    def free_input(self) -> None:
        """The input goes to the heap; the output now stands for it in tot_pages."""
        for gfn, mfn in self.stolen:
            p2m = self.domain.p2m
            if p2m is not None and p2m.lookup(gfn) == mfn:  # a populate may have come and replaced it
                p2m.unmap(gfn)
            give_back(self.host, mfn, 0)
        self.stolen.clear()

    def assign(self, mfn: Mfn) -> bool:
        """One output extent becomes the domain's (MEMF_no_refcount); False when it is dying."""
        order = self.request.out_extent_order
        gfn = next(self.outputs)
        if self.domain.is_dying != Dying.ALIVE:
            adjust_tot_pages(self.host, self.domain, -(1 << order))
            self.host.in_flight_pages += 1 << order
            give_back(self.host, mfn, order)
            complete_destroy_if_empty(self.host, self.domain)
            return False
        self.host.frames.set_owner(mfn, order, self.domain.domid, IN_FLIGHT)
        map_extent(self.host, self.domain, gfn, mfn, order)
        append_extent(self.frames, mfn, order)
        return True


def memory_exchange(host: Host, caller: Caller, request: MemoryExchange) -> Steps:
    """0, or a negative errno; progress made before a failure stays and is told in the value."""
    steal, take, undo, free_input, assign = _steps(
        caller.domid if request.domid == DOMID_SELF else request.domid
    )
    yield steal
    refusal, domain, placement = _check(host, caller, request)
    if domain is None or placement is None:
        return Result(refusal, Exchanged(request.nr_exchanged, ()))
    exchange = _Exchange(host, domain, request, placement)
    chunks = runs_length(request.in_extents) // exchange.in_per_chunk
    first_chunk = request.nr_exchanged // exchange.in_per_chunk
    for chunk in range(first_chunk, chunks):
        if chunk > first_chunk:
            yield steal
        error = exchange.steal()
        for _ in range(exchange.out_per_chunk):
            if error:
                break
            yield take
            error = 0 if exchange.take() else -Errno.ENOMEM
        if error:
            yield undo
            exchange.undo()
            return _result(error, exchange, chunk)
        yield free_input
        exchange.free_input()
        while exchange.taken:
            yield assign
            if not exchange.assign(exchange.taken.pop(0)):
                error = -Errno.EINVAL
        if error:
            return _result(error, exchange, chunk + 1)
    return Result(0, Exchanged(runs_length(request.in_extents), tuple(exchange.frames)))


def _result(error: int, exchange: _Exchange, chunks_done: int) -> Result:
    return Result(error, Exchanged(chunks_done * exchange.in_per_chunk, tuple(exchange.frames)))


def _check(
    host: Host, caller: Caller, request: MemoryExchange
) -> tuple[int, Domain | None, Placement | None]:
    """The tests of memory_exchange in Xen's order: EPERM, EINVAL, ESRCH, EPERM."""
    nr_in, nr_out = runs_length(request.in_extents), runs_length(request.out_extents)
    in_order, out_order = request.in_extent_order, request.out_extent_order
    if max(in_order, out_order) > max_order(caller):
        return -Errno.EPERM, None, None
    if (
        request.nr_exchanged > nr_in
        or request.domid != request.out_domid
        or nr_in > ULONG_MASK >> in_order
        or nr_out > ULONG_MASK >> out_order
        or nr_in << in_order != nr_out << out_order
    ):
        return -Errno.EINVAL, None, None
    domain = host.find_any(caller, request.domid)
    if domain is None:
        return -Errno.ESRCH, None, None
    if not may_target(caller, domain):
        return -Errno.EPERM, None, None
    return -Errno.ENOMEM, domain, placement_of(host, caller, request.mem_flags)


@lru_cache(maxsize=STEPS_KEPT)
def _steps(domid: int) -> tuple[Step, Step, Step, Step, Step]:
    this = (domain_resource(domid), p2m_resource(domid))
    return (
        step("steal", reads=(*this, DOMAINS, REFERENCES), writes=this),
        step("take", reads=(HEAP, CLAIMS, domain_resource(domid)), writes=(HEAP,)),
        step("undo", reads=this, writes=(*this, HEAP, CLAIMS, DOMAINS)),
        step("free input", writes=(*this, HEAP)),
        step("assign", reads=this, writes=(*this, HEAP, CLAIMS, DOMAINS)),
    )
