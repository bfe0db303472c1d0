"""Sends what the recording program sent, and answers as libxc answered it (rules L4-L8, A3, A11)."""

from dataclasses import replace

from hypervisor.core.lifecycle import HAP_POOL_AT_CREATION
from hypervisor.core.machine import Machine, run_alone
from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    Created,
    CreateDomain,
    Exchanged,
    Frames,
    MapForeign,
    UnmapForeign,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import (
    DecreaseReservation,
    IncreaseReservation,
    MemoryExchange,
    PopulatePhysmap,
)
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_ANY, DomId, Pages, Runs, runs_length
from launch.conform.answers import Answer, as_c_int
from launch.conform.frames import NO_FRAME, HeldExtents, after_extents, first_extents, with_bad_extent
from launch.conform.recording import TMEM_OPS, Line
from launch.conform.requests import request_of
from launch.conform.tmem_calls import DOM0, TmemClients


class Toolstack:
    """dom0's toolstack on a machine, with the extents it has got for each domain."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.held: dict[DomId, HeldExtents] = {}
        self._mapped: dict[DomId, Runs] = {}
        self._structure_pages: dict[str, Pages] = {}
        self._named: dict[str, DomId] = {}
        self._tmem = TmemClients(machine, self.held)
        self.nameless: set[DomId] = set()
        """Domains whose name the script gave to another: they live on, but no state lists them."""

    def perform(self, line: Line) -> Answer:
        """Carry the line's operation out. The state of the host is as after the line."""
        request = request_of(line)
        if request is not None:
            return as_c_int(self._send(request).ret)
        if line.op in TMEM_OPS:
            return self._tmem.perform(line)
        match line.op:
            case "create":
                return self._create(line)
            case "map":
                return self._map(line)
            case "unmap":
                return as_c_int(self._send(UnmapForeign(line.domid, self._mapped.pop(line.domid, ()))).ret)
            case _:
                return self._extents(line)

    def extents_of(self, domid: DomId) -> HeldExtents:
        """What the domain holds; a domain never created holds nothing and is PV."""
        return self.held.get(domid) or HeldExtents(hvm=False)

    def _extents(self, line: Line) -> Answer:
        match line.op:
            case "populate":
                return as_c_int(self._populate(line))
            case "populate_exact":
                done = self._populate(line)
                # xc_domain_populate_physmap_exact: a short count is EBUSY (L8)
                return Answer(0, 0, done) if done == line.count else Answer(-1, Errno.EBUSY, done)
            case "increase":
                return as_c_int(self._increase(line))
            case "decrease":
                return as_c_int(self._decrease(line))
            case _:
                return self._exchange(line)

    def _send(self, request: Request) -> Reply:
        return run_alone(self.machine, DOM0, request)

    def _create(self, line: Line) -> Answer:
        """A domain whose structures cost what the recording says."""
        hvm = line.kind == "hvm"
        cost = self._cost(line)
        host = self.machine.host
        if cost is not None and hvm:
            host.release = replace(host.release, hvm_structure_pages=max(cost - HAP_POOL_AT_CREATION, 0))
        elif cost is not None:
            host.release = replace(host.release, pv_structure_pages=max(cost, 0))
        domid = line.domid if line.ret == 0 else DOMID_ANY
        reply = self._send(CreateDomain(domid, CDF_HVM | CDF_HAP if hvm else 0))
        if isinstance(reply.value, Created):
            self.held[reply.value.domid] = HeldExtents(hvm)
            self._name(line.dom, reply.value.domid)
        return as_c_int(reply.ret)

    def _cost(self, line: Line) -> Pages | None:
        """The change of free; for a refused one the most that any of its kind cost so far, None: unknown.

        The cost varies by some pages with what Xen's own small allocations find half used.
        """
        most = self._structure_pages.get(line.kind)
        if line.ret != 0:
            return most
        tmem = self.machine.host.tmem
        relinquished = 0 if tmem is None else tmem.freeable - line.state.freeable
        cost = line.free_before - line.state.free + relinquished
        self._structure_pages[line.kind] = cost if most is None else max(most, cost)
        return cost

    def _name(self, name: str, domid: DomId) -> None:
        if name in self._named:
            self.nameless.add(self._named[name])
        self._named[name] = domid
        self.nameless.discard(domid)

    def _populate(self, line: Line) -> int:
        held = self.extents_of(line.domid)
        gfns = held.new_gfns(line.count, line.order)
        reply = self._send(PopulatePhysmap(line.domid, gfns, line.order, line.mem_flags))
        if isinstance(reply.value, Frames):
            held.add(reply.value.extents, line.order)
        elif held.hvm:
            held.add(first_extents(gfns, reply.ret), line.order)
        return reply.ret

    def _increase(self, line: Line) -> int:
        request = IncreaseReservation(line.domid, line.count, line.order, line.mem_flags)
        reply = self._send(request)
        held = self.extents_of(line.domid)
        if isinstance(reply.value, Frames) and not held.hvm:  # an HVM domain has no name for them
            held.add(reply.value.extents, line.order)
        return reply.ret

    def _decrease(self, line: Line) -> int:
        held, order = self.extents_of(line.domid), line.order
        extents = held.take(line.count, order)
        missing = line.count - runs_length(extents)
        named = (*extents, (NO_FRAME, missing)) if missing else extents
        if line.bad_at is not None:
            named = with_bad_extent(named, line.bad_at, order)
        ret = self._send(DecreaseReservation(line.domid, named, order)).ret
        held.add(tuple(reversed(after_extents(extents, max(ret, 0), order))), order)
        return ret

    def _exchange(self, line: Line) -> Answer:
        held = self.extents_of(line.domid)
        extents = held.take(line.in_count, line.in_order)
        gfns = held.new_gfns(line.out_count, line.out_order)
        reply = self._send(
            MemoryExchange(line.domid, extents, line.in_order, line.domid, gfns, line.out_order)
        )
        exchanged = reply.value.nr_exchanged if isinstance(reply.value, Exchanged) else 0
        held.add(tuple(reversed(after_extents(extents, exchanged, line.in_order))), line.in_order)
        if held.hvm:
            held.add(first_extents(gfns, (exchanged << line.in_order) >> line.out_order), line.out_order)
        elif isinstance(reply.value, Exchanged):
            held.add(reply.value.extents, line.out_order)
        return replace(as_c_int(reply.ret), nr_exchanged=exchanged)

    def _map(self, line: Line) -> Answer:
        reply = self._send(MapForeign(line.domid, self.extents_of(line.domid).peek(line.count, 0)))
        if not isinstance(reply.value, Frames):
            return as_c_int(reply.ret)
        self._mapped[line.domid] = reply.value.extents
        return Answer(runs_length(reply.value.extents))  # xc_map_foreign_pages counts what it mapped
