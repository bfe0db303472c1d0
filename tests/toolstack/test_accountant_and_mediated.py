"""`accountant` and `mediated`, and the counterfactual requests that they rest on."""

from __future__ import annotations

import pytest

from hypervisor.public.counterfactual import (
    AnswerGrowth,
    Mediate,
    ReadReservations,
    ReservationChanges,
    WatchReservations,
)
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, DecreaseReservation, PopulatePhysmap
from hypervisor.public.orders import Stage
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_SELF, Pages
from launch.simulate.sim_world import SimWorld
from tests.toolstack.virtual_toolstack import BIG, MIB, VirtualToolstack
from toolstack.accountant import Accountant
from toolstack.mediated import Mediated
from toolstack.naive import Naive
from toolstack.need import need_memory

NEED = need_memory("hvm-4.17", BIG, 1)


def ask(lab: VirtualToolstack, world: SimWorld, request: Request) -> Reply:
    """What it answers to that caller, within a second."""
    future = world.hypercall(request)
    lab.run(lab.host.now + 1.0)
    return future.result()


def with_guest(scheme: Accountant | Mediated | Naive, spare: Pages) -> tuple[VirtualToolstack, SimWorld]:
    """A launch of 64 MiB fits with `spare` pages to spare; the guest may grow to 240 MiB."""
    lab = VirtualToolstack(scheme)
    guest, _ = lab.host.build(lab.free - NEED - spare - 2000, 240 * MIB)
    assert ask(lab, guest, PopulatePhysmap(DOMID_SELF, ((300 * MIB, lab.free - NEED - spare),))).ret > 0
    assert lab.free == NEED + spare
    return lab, guest


# ---- accountant


def test_the_accountant_decides_without_a_hypercall() -> None:
    """Its books are right to the page: what fits exactly is admitted, a page less is refused."""
    for spare, stage in ((0, Stage.BUILT), (-1, Stage.REFUSED)):
        lab, _ = with_guest(Accountant({}), spare)
        order = lab.order()
        lab.run(lab.host.now + 100.0)
        assert (lab.last(order).stage, lab.last(order).admission_hypercalls) == (stage, 0)


def test_the_accountant_sees_growth_but_does_not_stop_it() -> None:
    """A guest that grows in the middle of a build fails it late; the next launch is refused by the books."""
    lab, guest = with_guest(Accountant({}), 0)
    lab.grow_at(lab.host.now + 5.0, guest, 400 * MIB, 16 * MIB)
    order = lab.order()
    lab.run(lab.host.now + 100.0)
    again = lab.order()
    lab.run(lab.host.now + 100.0)
    assert lab.stages(order) == [Stage.ADMITTED, Stage.FAILED]
    assert lab.last(again).stage is Stage.REFUSED
    assert "by the books" in lab.last(again).reason


def test_a_ring_that_overflows_makes_the_accountant_read_everything_again() -> None:
    """Eight entries for thousands of changes: most are lost, and the books are right all the same."""
    lab, _ = with_guest(Accountant({"ring_size": 8}), 0)
    order = lab.order()
    lab.run(lab.host.now + 100.0)
    assert lab.last(order).stage is Stage.BUILT
    lab.dismiss()
    notes = lab.service.farewell().notes
    assert notes["changes lost"] > 1000
    assert notes["most steps behind"] > 0
    assert lab.machine.host.rings == {}


def test_the_ring_tells_every_change_in_order_and_counts_what_it_lost() -> None:
    """Three pages up and one down, a ring of three: three told, one lost; an event when it fills."""
    lab = VirtualToolstack(Naive({}))
    guest, _ = lab.host.build(8 * MIB, 16 * MIB)
    watcher = lab.host.simulator.world(0, 99, lab.world.rng)
    assert ask(lab, watcher, ReadReservations(9)).ret == -Errno.ENOENT
    assert ask(lab, watcher, WatchReservations(3)).ret == 0
    heard = watcher.spawn(watcher.next_event(), "event")
    ask(lab, guest, PopulatePhysmap(DOMID_SELF, ((9 * MIB, 3),)))
    ask(lab, guest, DecreaseReservation(DOMID_SELF, ((9 * MIB, 1),)))
    assert heard.done()
    first, second = (ask(lab, watcher, ReadReservations(2)).value for _ in range(2))
    assert isinstance(first, ReservationChanges) and isinstance(second, ReservationChanges)
    sizes = [change.tot_pages for change in (*first.changes, *second.changes)]
    assert sizes == [8 * MIB + 1, 8 * MIB + 2, 8 * MIB + 3]
    assert (first.lost, first.waiting, second.lost, second.waiting) == (1, 1, 0, 0)
    assert [change.domid for change in first.changes] == [guest.domid] * 2
    again = watcher.spawn(watcher.next_event(), "event")
    ask(lab, guest, PopulatePhysmap(DOMID_SELF, ((10 * MIB, 1),)))
    assert again.done()
    assert ask(lab, watcher, WatchReservations(0)).ret == 0
    assert lab.machine.host.rings == {}


# ---- mediated


def test_a_guest_may_take_what_is_promised_to_nobody_and_no_more() -> None:
    """8 MiB beside the launch: the guest gets them during the build, and not the next 8 MiB."""
    lab, guest = with_guest(Mediated({}), 8 * MIB)
    order = lab.order()
    lab.run_until_outcome(order, Stage.ADMITTED)
    first = lab.grow_at(lab.host.now + 2.0, guest, 400 * MIB, 8 * MIB)
    second = lab.grow_at(lab.host.now + 4.0, guest, 500 * MIB, 8 * MIB)
    lab.run(lab.host.now + 100.0)
    assert (first, second) == ([8 * MIB], [0])
    assert lab.last(order).stage is Stage.BUILT


def test_growth_costs_a_round_trip_through_the_toolstack() -> None:
    """2 x 0.5 ms for the call itself; mediated, as long again: event out, answer back."""
    times: list[float] = []
    for scheme in (Naive({}), Mediated({})):
        lab, guest = with_guest(scheme, 8 * MIB)
        started = lab.host.now
        future = guest.hypercall(PopulatePhysmap(DOMID_SELF, ((400 * MIB, 1),)))
        lab.host.simulator.run(stop=future.done)
        times.append(lab.host.now - started)
    assert times == [pytest.approx(0.001), pytest.approx(0.002)]


def test_memory_that_guests_gave_back_is_found_before_a_no() -> None:
    """All is taken, another guest shrinks: with `reread` the growth is allowed, without it denied."""
    for reread, got in ((True, 4 * MIB), (False, 0)):
        lab = VirtualToolstack(Mediated({"reread": reread}))
        guest, _ = lab.host.build(lab.free // 2, 240 * MIB)
        other, _ = lab.host.build(lab.free - 900, 240 * MIB)
        if not reread:  # the books are opened by an admission or a look
            lab.order(lab.free * 2)
            lab.run(lab.host.now + 1.0)
        assert ask(lab, other, DecreaseReservation(DOMID_SELF, ((0, 8 * MIB),))).ret == 8 * MIB
        assert ask(lab, guest, PopulatePhysmap(DOMID_SELF, ((300 * MIB, 4 * MIB),))).ret == got


def test_without_an_answer_a_guest_waits_until_mediation_ends() -> None:
    """A mediator that says nothing stops growth; others' reads go on; switched off, everybody is let go."""
    lab = VirtualToolstack(Naive({}))
    guest, _ = lab.host.build(8 * MIB, 16 * MIB)
    silent = lab.host.simulator.world(0, 99, lab.world.rng)
    assert ask(lab, silent, Mediate(True)).ret == 0
    growth = guest.hypercall(PopulatePhysmap(DOMID_SELF, ((9 * MIB, 5),)))
    lab.run(lab.host.now + 50.0)
    assert not growth.done()
    assert ask(lab, lab.world, Mediate(True)).ret == -Errno.EBUSY
    assert ask(lab, silent, AnswerGrowth(99, True)).ret == -Errno.ENOENT
    assert ask(lab, guest, DecreaseReservation(DOMID_SELF, ((0, 1),))).ret == 1, "giving back is free"
    assert ask(lab, silent, Mediate(False)).ret == 0
    assert growth.result().ret == 5


def test_a_guest_that_dies_waiting_leaves_no_ticket_behind() -> None:
    """Destroyed in the middle of the question: its request ends, its pages are free again."""
    lab = VirtualToolstack(Naive({}))
    free = lab.free
    guest, _ = lab.host.build(8 * MIB, 16 * MIB)
    silent = lab.host.simulator.world(0, 99, lab.world.rng)
    ask(lab, silent, Mediate(True))
    guest.hypercall(PopulatePhysmap(DOMID_SELF, ((9 * MIB, 5),)))
    lab.run(lab.host.now + 1.0)
    assert list(lab.machine.host.mediation.undecided) == [1]
    lab.kill_domain(guest.domid)
    lab.run(lab.host.now + 1.0)
    assert (lab.machine.host.mediation.undecided, lab.free) == ({}, free)
    assert lab.host.simulator.stuck() == []


def test_a_dead_mediators_place_can_be_taken() -> None:
    """Guests of a mediator that was killed wait; whoever takes its place is asked, and answers them."""
    lab = VirtualToolstack(Naive({}))
    guest, _ = lab.host.build(8 * MIB, 16 * MIB)
    dead = lab.host.simulator.world(0, 99, lab.world.rng)
    assert ask(lab, dead, Mediate(True)).ret == 0
    growth = guest.hypercall(PopulatePhysmap(DOMID_SELF, ((9 * MIB, 5),)))
    for take_over, done in ((False, False), (True, True)):
        heir = VirtualToolstack(Mediated({"take_over": take_over}), host=lab.host, name=78 + take_over)
        lab.run(lab.host.now + 1.0)
        assert growth.done() is done
        heir.dismiss()
        leftovers = heir.service.farewell().leftovers
        assert done or "take_over=true" in leftovers[0]
    assert growth.result().ret == 5


def test_what_a_launch_did_not_take_is_given_back_to_guests() -> None:
    """A build fails early: without a new look guests may have what had been promised to it and no more."""
    lab = VirtualToolstack(Mediated({"reread": False}))
    guest, _ = lab.host.build(8 * MIB, 240 * MIB)
    other, _ = lab.host.build(lab.free - NEED - 8 * MIB, 240 * MIB)
    order = lab.order()
    lab.run_until_outcome(order, Stage.ADMITTED)
    lab.run(lab.host.now + 2.0)
    assert ask(lab, guest, PopulatePhysmap(DOMID_SELF, ((400 * MIB, 9 * MIB),))).ret == 0
    lab.kill_domain(next(domid for domid in lab.domids if domid not in (guest.domid, other.domid)))
    taken = lab.run_until_outcome(order, Stage.FAILED).pages_populated
    assert 0 < taken < BIG - 16 * MIB
    assert ask(lab, guest, PopulatePhysmap(DOMID_SELF, ((400 * MIB, 9 * MIB),))).ret == 9 * MIB
    assert ask(lab, guest, PopulatePhysmap(DOMID_SELF, ((500 * MIB, BIG - taken),))).ret == 0


def test_a_ring_that_nobody_reads_makes_room() -> None:
    """Sixteen rings of killed toolstacks: the seventeenth is refused until one has lost a change."""
    lab = VirtualToolstack(Naive({}))
    guest, _ = lab.host.build(8 * MIB, 16 * MIB)
    worlds = [lab.host.simulator.world(0, 100 + number, lab.world.rng) for number in range(17)]
    for world in worlds[:16]:
        assert ask(lab, world, WatchReservations(2 if world is worlds[3] else 64)).ret == 0
    assert ask(lab, worlds[16], WatchReservations(64)).ret == -Errno.ENOMEM
    ask(lab, guest, PopulatePhysmap(DOMID_SELF, ((9 * MIB, 3),)))
    assert ask(lab, worlds[16], WatchReservations(64)).ret == 0
    assert ask(lab, worlds[3], ReadReservations(2)).ret == -Errno.ENOENT
    assert ask(lab, worlds[4], ReadReservations(9)).ret == 3


@pytest.mark.parametrize(
    "request_", [WatchReservations(8), ReadReservations(8), Mediate(True), AnswerGrowth(1, True)]
)
def test_a_guest_may_ask_for_none_of_it(request_: Request) -> None:
    """EPERM, and nothing is changed."""
    lab = VirtualToolstack(Naive({}))
    guest, _ = lab.host.build(8 * MIB, 16 * MIB)
    assert ask(lab, guest, request_).ret == -Errno.EPERM
    assert lab.machine.host.rings == {}
    assert lab.machine.host.mediation.mediator is None
    assert lab.host.control(ClaimPages(guest.domid, 0)).ret == 0
