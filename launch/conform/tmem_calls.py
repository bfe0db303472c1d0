"""tmem as the recording's guests and toolstack used it: one line is one command, or many of them."""

from collections import Counter
from dataclasses import replace
from typing import Final

from hypervisor.core.heap.frames import FREE
from hypervisor.core.machine import Machine, run_alone
from hypervisor.core.steps import Caller
from hypervisor.public import tmem as abi
from hypervisor.public.domctl import Frames, UnpauseDomain
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.requests import Request
from hypervisor.public.tmem import (
    TmemClientInfo,
    TmemControl,
    TmemDestroyPool,
    TmemFlushObject,
    TmemFlushPage,
    TmemGetPage,
    TmemList,
    TmemNewPool,
    TmemOther,
    TmemPage,
    TmemPutPage,
    Uuid,
)
from hypervisor.public.units import DOMID_DOM0, DomId, Mfn, Pages
from launch.conform.answers import Answer, as_c_int
from launch.conform.frames import NO_FRAME, HeldExtents
from launch.conform.recording import Line
from launch.conform.tmem_figures import list_figures, repeated_figures

DOM0: Final = Caller(DOMID_DOM0)
GUEST_PAGES: Final[Pages] = 9
"""What makes a domain a running client of the recordings: kernel, stack, tables, a buffer."""


class TmemClients:
    """Domains of the recording as clients, and dom0's control of tmem."""

    def __init__(self, machine: Machine, held: dict[DomId, HeldExtents]) -> None:
        self._machine = machine
        self._held = held
        self._buffers: dict[DomId, Mfn] = {}

    def perform(self, line: Line) -> Answer:
        """Carry the line out."""
        match line.op:
            case "guest":
                return self._guest(line)
            case "tput" | "tget" | "tflush" | "tflushobj":
                return self._repeat(line)
            case "tpool" | "tkill" | "traw":
                return self._once(line)
            case _:
                return self._control(line)

    def _guest(self, line: Line) -> Answer:
        reply = run_alone(self._machine, DOM0, PopulatePhysmap(line.domid, ((0, GUEST_PAGES),)))
        if isinstance(reply.value, Frames):
            self._held[line.domid].add(reply.value.extents[1:], 0)
            self._buffers[line.domid] = reply.value.extents[0][0]
            first, count = reply.value.extents[0]
            self._held[line.domid].add(((first + 1, count - 1),), 0)
        run_alone(self._machine, DOM0, UnpauseDomain(line.domid))
        return Answer(0)

    def _caller(self, line: Line) -> Caller:
        recorded = line.state.doms.get(line.client)
        if recorded is None:
            return DOM0
        domain = self._machine.host.domains[recorded.domid]
        return Caller(domain.domid, domain.incarnation)

    def _once(self, line: Line) -> Answer:
        request: Request
        match line.op:
            case "tpool":
                request = TmemNewPool(line.flags, (int(line.uuid[0], 16), int(line.uuid[1], 16)))
            case "tkill":
                request = TmemDestroyPool(line.pool)
            case _:
                request = self._raw(line)
        return as_c_int(run_alone(self._machine, self._caller(line), request).ret)

    def _raw(self, line: Line) -> Request:
        if line.cmd == 4:  # with a pool that is not there
            return TmemPutPage(line.pool, (0, 0, 0), 0, NO_FRAME, 0)
        return TmemOther(line.cmd, line.pool)

    def _repeat(self, line: Line) -> Answer:
        """The same command over successive indexes or objects, until one answers other than 1."""
        caller = self._caller(line)
        keep = line.src.endswith("keep") or " keep " in line.src
        results: Counter[str] = Counter()
        ret, got, issued = 0, None, 0
        for number in range(line.count):
            reply = run_alone(self._machine, caller, self._command(line, number, caller.domid))
            ret = reply.ret
            issued += 1
            results[str(ret)] += 1
            if isinstance(reply.value, TmemPage):
                got = reply.value.content
            if ret != 1 and not keep:
                break
        return replace(as_c_int(ret), figures=repeated_figures(issued, dict(results), got))

    def _command(self, line: Line, number: int, domid: DomId) -> Request:
        by_oid = line.step == "oid"
        oid = (line.oid + (number if by_oid else 0), 0, 0)
        index = line.index + (0 if by_oid else number)
        cmfn = NO_FRAME if line.bad_frame else self._buffer(domid)
        match line.op:
            case "tput":
                return TmemPutPage(line.pool, oid, index, cmfn, line.seed)
            case "tget":
                return TmemGetPage(line.pool, oid, index, cmfn)
            case "tflush":
                return TmemFlushPage(line.pool, oid, index)
            case _:
                return TmemFlushObject(line.pool, oid)

    def _buffer(self, domid: DomId) -> Mfn:
        if domid not in self._buffers:  # dom0, whose frames a heap that only counts does not have
            mfn = NO_FRAME + 1
            self._machine.host.frames.set_owner(mfn, 0, domid, FREE)
            self._buffers[domid] = mfn
        return self._buffers[domid]

    def _control(self, line: Line) -> Answer:
        reply = run_alone(self._machine, DOM0, _control_request(line))
        answer = as_c_int(reply.ret)
        if isinstance(reply.value, TmemClientInfo):
            info = reply.value
            figures = {"flags": info.flags, "weight": info.weight, "nr_pools": info.nr_pools}
            return replace(answer, figures=figures)
        if isinstance(reply.value, TmemList):
            return replace(answer, figures=list_figures(reply.value.lines))
        return answer


def _control_request(line: Line) -> TmemControl:
    match line.op:
        case "tctl":
            return TmemControl(line.cmd, line.cli, line.arg)
        case "tlist":
            return TmemControl(abi.TMEM_LIST, line.cli, line.long)
        case "tinfo":
            return TmemControl(abi.TMEM_GET_CLIENT_INFO, line.cli)
        case "tauth":
            return TmemControl(abi.TMEM_SET_AUTH, line.cli, uuid=_uuid_of(line), auth=bool(line.auth))
        case _:
            flags = abi.CLIENT_COMPRESS if line.compress else 0
            info = TmemClientInfo(flags=flags, weight=line.weight)
            return TmemControl(abi.TMEM_SET_CLIENT_INFO, line.cli, info=info)


def _uuid_of(line: Line) -> Uuid:
    """The recording has the uuid in the script's words only: tauth CLIENT LOW HIGH AUTH."""
    low, high = line.src.split()[2:4]
    return int(low, 0), int(high, 0)
