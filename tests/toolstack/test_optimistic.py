"""`optimistic`: conflicts are found, retried and given up; and the transaction they rest on."""

from __future__ import annotations

import pytest

from hypervisor.public.errors import Errno
from hypervisor.public.orders import Stage
from hypervisor.public.requests import Request
from hypervisor.public.xenstore import StoreRead, StoreTransaction, StoreWrite
from launch.simulate.sim_world import SimWorld
from tests.toolstack.virtual_toolstack import BIG, MIB, VirtualToolstack
from toolstack.ledger import BUILDS, GENERATION
from toolstack.naive import Naive
from toolstack.optimistic import Optimistic


def two_toolstacks(retries: int) -> tuple[VirtualToolstack, VirtualToolstack, list[Optimistic]]:
    """Two of them on one host with room for three launches of 64 MiB, or two when a guest takes its part."""
    schemes = [Optimistic({"retries": retries}) for _ in range(2)]
    first = VirtualToolstack(schemes[0])
    return first, VirtualToolstack(schemes[1], host=first.host, name=78), schemes


def test_two_who_decide_at_once_conflict_and_one_of_them_retries() -> None:
    """Both fit: both are built, although one decision was made for nothing."""
    first, second, schemes = two_toolstacks(10)
    orders = first.order(BIG), second.order(BIG)
    first.run(200.0)
    assert first.last(orders[0]).stage is second.last(orders[1]).stage is Stage.BUILT
    assert sum(scheme.notes()["conflicts"] for scheme in schemes) == 1
    assert first.node(GENERATION) == "2"


def test_without_retries_a_conflict_is_a_refusal() -> None:
    """There was room for both; the loser of the race is refused by name."""
    first, second, _ = two_toolstacks(0)
    orders = first.order(BIG), second.order(BIG)
    first.run(200.0)
    last = [first.last(orders[0]), second.last(orders[1])]
    assert sorted(one.stage for one in last) == [Stage.BUILT, Stage.REFUSED]
    assert [one.reason for one in last if one.stage is Stage.REFUSED] == [
        "conflict: others decided 1 times meanwhile"
    ]


def test_what_two_toolstacks_have_promised_is_never_promised_again() -> None:
    """Six launches of 64 MiB where three fit: three built, three refused, none late."""
    first, second, _ = two_toolstacks(20)
    orders = [(lab, lab.order(BIG)) for lab in (first, second) * 3]
    first.run(300.0)
    stages = sorted(lab.last(order).stage for lab, order in orders)
    assert stages == [Stage.BUILT] * 3 + [Stage.REFUSED] * 3
    assert not first.host.control(StoreRead(BUILDS)).ret
    assert first.host.simulator.machine.host.store.children[BUILDS] == {}


def test_an_entry_left_by_a_killed_toolstack_stops_counting_with_its_domain() -> None:
    """The killed one's half-built domain is destroyed: its entry is overlooked, and then swept out."""
    first, second, _ = two_toolstacks(10)
    order = first.order(3 * BIG)
    domid = first.run_until_outcome(order, Stage.ADMITTED).domid
    first.host.simulator.kill(first.world)
    first.kill_domain(domid)
    assert len(first.machine.host.store.children[BUILDS]) == 1
    again = second.order(3 * BIG)
    second.run(200.0)
    assert second.last(again).stage is Stage.BUILT
    assert first.machine.host.store.children[BUILDS] == {}


def test_growing_guests_change_no_generation() -> None:
    """A guest that grows in the middle of a build fails it late, as it fails `naive`."""
    lab = VirtualToolstack(Optimistic({}))
    guest, _ = lab.host.build(lab.free - BIG - 8 * MIB, 240 * MIB)
    lab.grow_at(5.0, guest, 300 * MIB, 16 * MIB)
    order = lab.order(BIG)
    lab.run(100.0)
    assert lab.stages(order) == [Stage.ADMITTED, Stage.FAILED]


# ---- the transaction


def ask(lab: VirtualToolstack, world: SimWorld, request: Request) -> int:
    """What it answers to that caller."""
    future = world.hypercall(request)
    lab.run(lab.host.now + 1.0)
    return future.result().ret


def test_a_transaction_writes_all_or_nothing() -> None:
    """With one node changed since it was read nothing is written; otherwise everything, removals included."""
    lab = VirtualToolstack(Naive({}))
    lab.host.control(StoreWrite("/tool/a", "1"))
    lab.host.control(StoreWrite("/tool/old", "x"))
    writes = (("/tool/b", "2"), ("/tool/old", None), ("/tool/never", None))
    for expected in ((("/tool/a", "0"),), (("/tool/a", None),), (("/tool/a", "1"), ("/tool/b", "2"))):
        assert lab.host.control(StoreTransaction(expected, writes)).ret == -Errno.EAGAIN
        assert (lab.node("/tool/b"), lab.node("/tool/old")) == (None, "x")
    right = (("/tool/a", "1"), ("/tool/b", None))
    assert lab.host.control(StoreTransaction(right, writes)).ret == 0
    assert (lab.node("/tool/b"), lab.node("/tool/old")) == ("2", None)


@pytest.mark.parametrize("path", ["tool", "/", "/a//b"])
def test_a_transaction_with_a_path_that_cannot_be_changes_nothing(path: str) -> None:
    """EINVAL, before the good write beside it."""
    lab = VirtualToolstack(Naive({}))
    assert lab.host.control(StoreTransaction((), (("/tool/b", "2"), (path, "3")))).ret == -Errno.EINVAL
    assert lab.node("/tool/b") is None


def test_a_guest_has_no_transactions() -> None:
    """EACCES, its own home or not."""
    lab = VirtualToolstack(Naive({}))
    guest, _ = lab.host.build(8 * MIB, 8 * MIB)
    mine = f"/local/domain/{guest.domid}/data/x"
    assert ask(lab, guest, StoreTransaction((), ((mine, "1"),))) == -Errno.EACCES
