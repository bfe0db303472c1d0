"""What tells `clamp-to-tot`, `forbid`, `static` and `lock` from each other and from `clamp`."""

from __future__ import annotations

import pytest

from hypervisor.public.counterfactual import MaxMemBatch
from hypervisor.public.domctl import GetDomainInfoList, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.orders import Stage
from hypervisor.public.units import DOMID_DOM0, Pages
from launch.simulate.sim_world import SimWorld
from tests.toolstack.virtual_toolstack import BIG, MIB, VirtualToolstack
from toolstack.clamp import Clamp
from toolstack.clamp_to_tot import ClampToTot
from toolstack.forbid import Forbid
from toolstack.interface import ParametersError, Scheme
from toolstack.lock import Lock
from toolstack.need import need_memory
from toolstack.static import Static

NEED = need_memory("hvm-4.17", BIG, 1)


def growing(scheme: Scheme, spare: Pages = 16 * MIB) -> tuple[VirtualToolstack, SimWorld]:
    """A launch fits with `spare`; the guest may grow by 40 MiB and wants 8 MiB at second 5."""
    lab = VirtualToolstack(scheme)
    guest, _ = lab.host.build(lab.free - NEED - spare - 2000, lab.free - NEED - spare + 40 * MIB)
    return lab, guest


# ---- clamp-to-tot


def test_a_pinned_guest_cannot_grow_while_anything_is_built_and_can_afterwards() -> None:
    """P2' pins needlessly: 16 MiB are free beyond the launch, and the guest gets not a page of them."""
    lab, guest = growing(ClampToTot({}))
    during = lab.grow_at(5.0, guest, 300 * MIB, 8 * MIB)
    after = lab.grow_at(60.0, guest, 400 * MIB, 8 * MIB)
    order = lab.order()
    lab.run(100.0)
    assert lab.last(order).stage is Stage.BUILT
    assert (during, after) == ([0], [8 * MIB])


def test_a_margin_lets_guests_grow_by_that_much_and_counts_as_needed() -> None:
    """With 10 percent a 100-MiB guest has 10 MiB to grow into, which must be free beside the launch."""
    for spare, stage in ((12 * MIB, Stage.BUILT), (6 * MIB, Stage.REFUSED)):
        lab = VirtualToolstack(ClampToTot({"margin_percent": 10}))
        guest, _ = lab.host.build(100 * MIB, 240 * MIB)
        lab.host.build(lab.free - NEED - spare - 600, lab.free - NEED - spare - 600)
        before = lab.free
        grown = lab.grow_at(3.0, guest, 300 * MIB, 11 * MIB)
        order = lab.order()
        lab.run(100.0)
        assert before - NEED == pytest.approx(spare, abs=600)
        assert lab.last(order).stage is stage
        if stage is Stage.BUILT:
            assert grown == [10 * MIB]


def test_a_domain_that_begins_to_run_is_pinned_until_the_other_build_is_over() -> None:
    """The first of two launches could otherwise grow to its maximum at the second one's expense."""
    lab = VirtualToolstack(ClampToTot({}))
    short, long = lab.order(16 * MIB, max_pages=150 * MIB), lab.order(BIG)
    domid = lab.run_until_outcome(short, Stage.BUILT).domid
    lab.run(lab.host.now + 0.1)
    assert lab.domain(domid).max_pages == lab.domain(domid).tot_pages
    lab.run(100.0)
    assert lab.last(long).stage is Stage.BUILT
    assert lab.domain(domid).max_pages == 150 * MIB + 256


# ---- forbid


def test_forbid_pins_before_any_launch_and_lets_go_at_the_end() -> None:
    """A guest is pinned as soon as it is seen; nothing needs to be built for that."""
    lab, guest = growing(Forbid({"look_seconds": 1.0}))
    grown = lab.grow_at(10.0, guest, 300 * MIB, 8 * MIB)
    lab.run(20.0)
    assert grown == [0]
    lab.dismiss()
    assert lab.domain(guest.domid).max_pages > lab.domain(guest.domid).tot_pages
    assert lab.service.farewell().notes["hypercalls beside the launches"] > 2


def test_a_domain_built_under_forbid_never_grows() -> None:
    """Its own pin comes with its birth."""
    lab = VirtualToolstack(Forbid({}))
    order = lab.order(16 * MIB, max_pages=64 * MIB)
    lab.run(60.0)
    built = lab.domain(lab.last(order).domid)
    assert built.max_pages == built.tot_pages
    lab.dismiss()
    assert built.max_pages == 64 * MIB + 256


# ---- static


def test_static_counts_maxima_and_ignores_that_guests_use_half() -> None:
    """Sum of maxima: a launch that would fit in free memory is refused, and overcommit admits it."""
    for share, stage in ((100, Stage.REFUSED), (130, Stage.BUILT)):
        lab = VirtualToolstack(Static({"overcommit_percent": share}))
        lab.host.build(40 * MIB, 200 * MIB)
        assert lab.free > NEED + 100 * MIB
        order = lab.order()
        lab.run(100.0)
        assert lab.last(order).stage is stage


def test_static_counts_its_own_launches_by_their_maximum() -> None:
    """Two launches of 16 MiB that may grow to 120 MiB: only one of them fits into 224 MiB."""
    lab = VirtualToolstack(Static({}))
    orders = [lab.order(16 * MIB, max_pages=120 * MIB) for _ in range(2)]
    lab.run(100.0)
    third = lab.order(16 * MIB, max_pages=120 * MIB)
    lab.run(200.0)
    assert [lab.last(order).stage for order in orders] == [Stage.BUILT, Stage.REFUSED]
    assert lab.last(third).stage is Stage.REFUSED, "the first counts by its maximum for good"


# ---- lock


@pytest.mark.rule("L12")
def test_lock_lets_one_create_in_at_a_time() -> None:
    """The second decision falls after the first build is over, however many builds could run at once."""
    lab = VirtualToolstack(Lock({}))
    first, second = lab.order(32 * MIB), lab.order(32 * MIB)
    lab.run(100.0)
    assert lab.of(second)[0].time >= lab.last(first).time
    assert lab.last(second).stage is Stage.BUILT


@pytest.mark.rule("L13", "L15")
def test_freemem_takes_what_is_missing_from_dom0_and_not_below_its_minimum() -> None:
    """6 MiB too few are free: dom0 gives them and waits 2 s; with a minimum in the way it is refused."""
    for minimum, stage in ((8 * MIB, Stage.BUILT), (12 * MIB, Stage.REFUSED)):
        lab = VirtualToolstack(Lock({"dom0_minimum": minimum}))
        guest, _ = lab.host.build(lab.free - NEED + 6 * MIB - 1000, 200 * MIB)
        more = lab.free - NEED + 6 * MIB
        assert lab.grow_at(0.0, guest, 300 * MIB, more) == []
        lab.run(0.5)
        order = lab.order()
        lab.run(100.0)
        assert lab.last(order).stage is stage
        given = 16 * MIB - lab.domain(DOMID_DOM0).tot_pages
        assert given == (6 * MIB if stage is Stage.BUILT else 0)
        if stage is Stage.BUILT:
            assert lab.of(order)[0].time >= 2.5


@pytest.mark.rule("L13")
def test_freemem_without_dom0_waits_as_long_as_its_credit() -> None:
    """A guest that leaves after 10 s makes room; one that leaves after 40 s is too late."""
    for leaves, stage in ((10.0, Stage.BUILT), (40.0, Stage.REFUSED)):
        lab = VirtualToolstack(Lock({"autoballoon": False}))
        guest, _ = lab.host.build(lab.free - NEED // 2, 240 * MIB)
        order = lab.order()
        lab.run(leaves)
        lab.kill_domain(guest.domid)
        lab.run(100.0)
        assert lab.last(order).stage is stage


def test_lock_does_not_exclude_guests() -> None:
    """The same growth that fails `naive` fails `lock`: it serialises builders and nobody else."""
    lab, guest = growing(Lock({}), spare=0)
    lab.grow_at(5.0, guest, 300 * MIB, 24 * MIB)
    order = lab.order()
    lab.run(100.0)
    assert lab.stages(order) == [Stage.ADMITTED, Stage.FAILED]


# ---- the forms of clamp's calls


def test_clamp_sends_the_same_limits_one_by_one_in_one_message_or_in_one_step() -> None:
    """Five guests: five max_mem and a list; the same in one call; or one request that Xen does not have."""
    sent: dict[str, list[str]] = {}
    limits: dict[str, list[Pages]] = {}
    for calls in ("one by one", "multicall", "atomic"):
        lab = VirtualToolstack(Clamp({"calls": calls}))
        guests = [lab.host.build(16 * MIB, 60 * MIB)[0] for _ in range(5)]
        asked = len(lab.host.calls.sent[0])
        order = lab.order()
        lab.run_until_outcome(order, Stage.ADMITTED)
        kinds = (MaxMem, MaxMemBatch, GetDomainInfoList)
        new = [call for _, call in lab.host.calls.sent[0][asked:] if isinstance(call, kinds)]
        sent[calls] = [type(call).__name__ for call in new][2:]  # the sample reads twice
        limits[calls] = [lab.domain(guest.domid).max_pages for guest in guests]
    assert sent["one by one"] == sent["multicall"] == ["MaxMem"] * 5 + ["GetDomainInfoList"]
    assert sent["atomic"] == ["MaxMemBatch"]
    assert limits["one by one"] == limits["multicall"] == limits["atomic"]
    assert limits["atomic"][0] < 60 * MIB


def test_the_atomic_batch_is_one_step_and_for_the_control_domain_only() -> None:
    """Several limits and a reading of all, with one commit number; a guest gets EPERM."""
    lab = VirtualToolstack(Clamp({}))
    guests = [lab.host.build(16 * MIB, 60 * MIB)[0] for _ in range(2)]
    batch = MaxMemBatch(((guests[0].domid, 4 * 30 * MIB), (99, 4), (guests[1].domid, 4 * 20 * MIB)))
    reply = lab.host.control(batch)
    assert (reply.ret, reply.first) == (2, reply.last)
    assert [lab.domain(guest.domid).max_pages for guest in guests] == [30 * MIB, 20 * MIB]
    denied = guests[0].hypercall(batch)
    lab.run(lab.host.now + 1.0)
    assert denied.result().ret == -Errno.EPERM


@pytest.mark.parametrize(
    ("scheme", "parameters", "text"),
    [
        (Clamp, {"calls": "at once"}, "calls"),
        (ClampToTot, {"margin_percent": -1}, "margin_percent"),
        (Static, {"overcommit_percent": 0}, "overcommit_percent"),
        (Forbid, {"when": "never"}, "when"),
        (Lock, {"look_seconds": 0}, "look_seconds"),
    ],
)
def test_a_wrong_parameter_is_named(scheme: type[Scheme], parameters: dict[str, object], text: str) -> None:
    """One line that names the key."""
    with pytest.raises(ParametersError, match=text):
        scheme(parameters)
