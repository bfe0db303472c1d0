"""Journals made by hand through the real core, with the outcomes of launches that never were processes."""

from __future__ import annotations

import io
from typing import Any

import msgspec

from guests.report import GuestReport
from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.releases import release
from hypervisor.core.steps import Caller
from hypervisor.journal import JournalWriter
from hypervisor.public.domctl import CDF_HVM, Created, CreateDomain, MaxMem, UnpauseDomain
from hypervisor.public.memory import DecreaseReservation, PopulatePhysmap
from hypervisor.public.orders import Outcome, Stage
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_SELF, Pages, pages_to_kib
from launch.judge.judge import HostEvidence, judge_stream
from launch.judge.verdict import HostJudgement, LaunchJudgement
from launch.records import Ordered

TOOLSTACK = Caller(0, 77)


class HandMade:
    """A host whose every step is written to a journal, and the launch outcomes that a test invents."""

    def __init__(self, name: str = "4.17", ram: Pages = 16384, *, tmem: bool = False) -> None:
        """`ram` less 2,048 pages is free."""
        config = HostConfig((ram,), dom0_pages=1024, xen_pages=1024, tmem=tmem)
        self.machine = Machine(new_host(config, release(name)))
        self._file = io.BytesIO()
        self._journal = JournalWriter(self._file, {"release": name, "host": msgspec.to_builtins(config)})
        self._next_gfn: dict[int, int] = {}
        self.orders: list[Ordered] = []
        self.outcomes: list[Outcome] = []
        self.reports: list[GuestReport] = []

    # ---- the host

    @property
    def commit(self) -> int:
        """The last one."""
        return self.machine.commit

    @property
    def free(self) -> Pages:
        """On the free lists."""
        return self.machine.host.heap.total_avail

    def begin(self, caller: Caller, request: Request) -> Operation:
        """Under way, no step done yet."""
        return self.machine.submit(caller, request)

    def step(self, operation: Operation, count: int = 1) -> Reply | None:
        """That many of its steps."""
        for _ in range(count):
            first = operation.first_commit == 0
            result = self.machine.step(operation)
            caller = operation.caller
            key = (caller.domid, caller.incarnation)
            self._journal.step(operation.number, key, operation.request if first else None, result.reply)
        return operation.reply

    def do(self, request: Request, caller: Caller = TOOLSTACK) -> Reply:
        """A request to its end, with nobody in between."""
        operation = self.begin(caller, request)
        while operation.reply is None:
            self.step(operation)
        return operation.reply

    def clock(self, now: float) -> None:
        """Everything so far was done by that emulated second."""
        self._journal.clock(round(now * 1000), self.commit, now)

    # ---- domains

    def domain(self, pages: Pages, max_pages: Pages) -> Caller:
        """A running HVM domain."""
        made = self.do(CreateDomain(flags=CDF_HVM)).value
        assert isinstance(made, Created)
        caller = Caller(made.domid, made.incarnation)
        self.limit(caller, max_pages)
        assert self.grow(caller, pages, TOOLSTACK) == pages
        self.do(UnpauseDomain(made.domid))
        return caller

    def limit(self, domain: Caller, pages: Pages) -> None:
        """max_mem."""
        assert self.do(MaxMem(domain.domid, pages_to_kib(pages))).ret == 0

    def growth(self, domain: Caller, pages: Pages, by: Caller | None = None) -> Operation:
        """A populate of single pages, not begun; by the domain itself unless said otherwise."""
        first = self._next_gfn.get(domain.domid, 0)
        self._next_gfn[domain.domid] = first + pages
        who = DOMID_SELF if by is None else domain.domid
        return self.begin(domain if by is None else by, PopulatePhysmap(who, ((first, pages),)))

    def grow(self, domain: Caller, pages: Pages, by: Caller | None = None) -> int:
        """The same to its end: the pages that were had."""
        operation = self.growth(domain, pages, by)
        while operation.reply is None:
            self.step(operation)
        return operation.reply.ret

    def shrink(self, domain: Caller, pages: Pages) -> None:
        """Give the first `pages` back."""
        assert self.do(DecreaseReservation(DOMID_SELF, ((0, pages),)), domain).ret == pages

    # ---- launches

    def order(self, pages: Pages, **fields: Any) -> int:
        """An order for a PV domain; its number."""
        number = len(self.orders) + 1
        made = {"time": 0.0, "max_pages": pages, "builder": "pv-4.17", "vcpus": 1, **fields}
        self.orders.append(Ordered(order=number, pages=pages, **made))
        return number

    def say(self, order: int, stage: Stage, time: float, **fields: Any) -> None:
        """A toolstack says what became of an order; its answer rests on the last commit."""
        self.outcomes.append(Outcome(order, stage, **{"commit": self.commit, "time": time, **fields}))

    # ---- the judge

    def journal(self) -> bytes:
        """Everything so far, and the note of a good end."""
        self._journal.note("end", 0, {"commit": self.commit})
        self._journal.flush()
        return self._file.getvalue()

    def judge(self, build_time: float | None = None) -> HostJudgement:
        """What the judge makes of it."""
        evidence = HostEvidence(self.orders, self.outcomes, self.reports)
        return judge_stream(io.BytesIO(self.journal()), evidence, "hand-made", build_time)

    def judge_one(self, build_time: float | None = None) -> LaunchJudgement:
        """The only launch's judgement."""
        (launch,) = self.judge(build_time).launches
        return launch
