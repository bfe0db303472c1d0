"""Whose turn it is among the requests under way."""

from __future__ import annotations

from hypervisor.core.host import HostConfig, new_host
from hypervisor.core.machine import Machine, Operation, run_alone
from hypervisor.core.releases import release
from hypervisor.core.steps import Caller
from hypervisor.public.domctl import CDF_HVM, Created, CreateDomain, MaxMem, UnpauseDomain
from hypervisor.public.memory import CurrentReservation, PopulatePhysmap
from hypervisor.public.requests import Request
from hypervisor.public.tmem import TMEM_EPHEMERAL, TmemGetPage, TmemNewPool, TmemPutPage
from hypervisor.public.units import DOMID_SELF
from hypervisor.session.speakers import RunningCall, Speaker
from hypervisor.turns import BETWEEN, Turns

CONTROL = Caller(0, 1)


class Observed(Machine):
    """Counts how often somebody was asked whether it can move."""

    asked = 0

    def is_runnable(self, operation: Operation) -> bool:
        self.asked += 1
        return super().is_runnable(operation)


class Bench:
    """One guest with a pool of tmem, its requests in turns."""

    def __init__(self) -> None:
        config = HostConfig((1 << 15,), dom0_pages=1024, xen_pages=1024, tmem=True)
        self.machine = Observed(new_host(config, release("4.12")))
        created = run_alone(self.machine, CONTROL, CreateDomain(flags=CDF_HVM)).value
        assert isinstance(created, Created)
        run_alone(self.machine, CONTROL, UnpauseDomain(created.domid))
        self.guest = Caller(created.domid, created.incarnation)
        run_alone(self.machine, self.guest, TmemNewPool(TMEM_EPHEMERAL))
        self.turns = Turns(self.machine, self.step)
        self.moved: list[int] = []
        self.machine.asked = 0

    def ask(self, request: Request, caller: Caller | None = None) -> int:
        who = caller or self.guest
        operation = self.machine.submit(who, request)
        speaker = Speaker((who.domid, who.incarnation), "")
        self.turns.join(operation, RunningCall(speaker, speaker.key, operation.number, (request,), []))
        return operation.number

    def step(self, operation: Operation, call: RunningCall) -> bool:
        self.moved.append(operation.number)
        return self.machine.step(operation).reply is not None

    def to_the_end(self) -> None:
        while self.turns.give_each():
            pass


def put(index: int) -> TmemPutPage:
    return TmemPutPage(0, (0, 0, index), 0, 0, 7)


def test_who_waits_for_a_lock_is_asked_when_it_is_his_and_not_before() -> None:
    """Behind a command of many steps that holds tmem's lock, a hundred others cost one question each."""
    bench = Bench()
    bench.ask(put(1))
    waiting = [bench.ask(TmemGetPage(0, (0, 0, 2), 0, 0)) for _ in range(100)]
    bench.to_the_end()
    assert bench.moved[-100:] == waiting, "in order of arrival"
    steps = len(bench.moved)
    assert steps > 102 and bench.machine.asked <= steps, "nobody was asked in vain"


def test_the_next_in_line_takes_the_lock_and_the_others_go_on_waiting() -> None:
    """Commands of several steps come one after the other, each whole, in order of arrival."""
    bench = Bench()
    puts = [bench.ask(put(index)) for index in range(3)]
    bench.to_the_end()
    assert bench.moved == sorted(bench.moved) and set(bench.moved) == set(puts)


def test_who_needs_no_lock_passes_those_who_wait() -> None:
    """A request without a lock has its step in the same turn in which others begin to wait."""
    bench = Bench()
    first, second, free = bench.ask(put(1)), bench.ask(put(2)), bench.ask(CurrentReservation(DOMID_SELF))
    bench.turns.give_each()
    assert bench.moved == [first, free]
    assert [operation.number for operation, _ in bench.turns] == [first, second]


def test_the_control_domain_has_its_turn_however_many_guests_there_are() -> None:
    """Beside a thousand requests of guests a toolstack's has a step in every round, and rounds are short."""
    bench = Bench()
    guests = [bench.ask(CurrentReservation(DOMID_SELF)) for _ in range(1000)]
    build = PopulatePhysmap(bench.guest.domid, ((64, 8),))
    run_alone(bench.machine, CONTROL, MaxMem(bench.guest.domid, 4096))
    control = bench.ask(build, CONTROL)
    bench.turns.give_each()
    assert bench.moved[0] == control and len(bench.moved) <= 1 + BETWEEN
    bench.to_the_end()
    last = len(bench.moved) - 1 - bench.moved[::-1].index(control)
    assert last < len(bench.moved) // 2, "it need not wait for all of them at each of its steps"
    assert [one for one in bench.moved if one != control] == guests, "which keep their order"
