"""What every toolstack does alike, on the real core in virtual time: build, report, roll back, destroy."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hypervisor.public.orders import RAISED, Stage
from hypervisor.public.units import runs_length
from hypervisor.public.xenstore import memory_target_path, static_max_path
from tests.toolstack.virtual_toolstack import BIG, MIB, ReleaseHost, VirtualToolstack
from toolstack.claim import Claim
from toolstack.clamp import Clamp
from toolstack.interface import Launch, LaunchRefusedError, Scheme
from toolstack.naive import Naive

SCHEMES = {"naive": Naive, "claim": Claim, "clamp": Clamp}
BUILDERS = ("pv-4.17", "hvm-4.17", "pv-4.3", "hvm-4.3")


@pytest.mark.rule("L2", "A31")
@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_launch_on_an_empty_host_is_admitted_and_built(scheme: str, builder: str) -> None:
    """Every scheme with every builder: pages in place, claim gone, running, and its nodes are there."""
    lab = VirtualToolstack(SCHEMES[scheme]({}))
    order = lab.order(BIG, builder, max_pages=BIG + 4 * MIB)
    lab.run()
    assert lab.stages(order) == [Stage.ADMITTED, Stage.BUILT]
    built = lab.last(order)
    domain = lab.domain(built.domid)
    in_place = BIG if builder.startswith("pv") else BIG - 0x20
    assert domain.tot_pages == built.pages_populated == in_place
    on_demand = 0 if builder.startswith("pv") else 4 * MIB  # an HVM guest names all it may have (A9, A29)
    assert runs_length(built.frames) == in_place + on_demand
    assert (domain.max_pages, domain.outstanding_pages, domain.pause_count) == (BIG + 4 * MIB + 256, 0, 0)
    assert lab.claimed == 0
    assert lab.node(static_max_path(built.domid)) == str((BIG + 4 * MIB) * 4)
    assert lab.node(memory_target_path(built.domid)) == str(BIG * 4)
    assert lab.node(f"/local/domain/{built.domid}/name") == "launch-1"


@pytest.mark.parametrize(("scheme", "decides"), [("naive", 1), ("claim", 2), ("clamp", 3)])
def test_hypercalls_of_the_decision_are_counted_apart(scheme: str, decides: int) -> None:
    """Admission and restore on an empty host: one look; claim and cancel; sample (two) and re-read."""
    lab = VirtualToolstack(SCHEMES[scheme]({}))
    order = lab.order()
    lab.run()
    built = lab.last(order)
    assert built.admission_hypercalls == decides
    sent = sum(len(calls) for domid, calls in lab.host.calls.sent.items() if domid == 0)
    xenstore_writes = 3
    assert built.hypercalls == sent - xenstore_writes


def test_an_outcome_says_when_its_decision_began() -> None:
    """An admission names the first commit of its first sample; clamp needs more than one."""
    windows: dict[str, int] = {}
    for name, scheme in SCHEMES.items():
        lab = VirtualToolstack(scheme({}))
        order = lab.order()
        lab.run()
        admitted, built = lab.of(order)
        assert 0 < admitted.sampled <= admitted.commit and built.sampled == admitted.sampled
        windows[name] = admitted.commit - admitted.sampled
    assert windows["naive"] == windows["claim"] == 0 < windows["clamp"]


@pytest.mark.parametrize(("builder", "frames"), [("hvm-4.17", "gfn"), ("pv-4.17", "mfn")])
def test_frames_are_what_the_guest_itself_will_name(builder: str, frames: str) -> None:
    """A HVM guest's frames are gfns without the VGA hole; a PV guest's are the mfns that it owns."""
    lab = VirtualToolstack(Naive({}))
    order = lab.order(BIG, builder)
    lab.run()
    built = lab.last(order)
    if frames == "gfn":
        assert built.frames == ((0, 0xA0), (0xC0, BIG - 0xC0))
        return
    table = lab.machine.host.frames
    owners = {table.owner(mfn) for first, count in built.frames for mfn in range(first, first + count)}
    assert owners == {built.domid}


def test_a_build_takes_the_time_that_its_pages_take() -> None:
    """64 MiB at 1024 pages a second: 16 emulated seconds, in many populate calls with time in between."""
    lab = VirtualToolstack(Naive({}))
    order = lab.order(BIG, "pv-4.3")
    lab.run()
    admitted, built = lab.of(order)
    assert 16.0 <= built.time - admitted.time < 17.0
    populates = [when for when, call in lab.host.calls.sent[0] if type(call).__name__ == "PopulatePhysmap"]
    assert len(populates) == 16
    assert all(later - earlier >= 0.999 for earlier, later in pairwise(populates))


def test_further_orders_wait_until_a_build_is_over() -> None:
    """With `parallel` 1 the second launch is decided only after the first is built."""
    lab = VirtualToolstack(Naive({}), parallel=1)
    first, second = lab.order(32 * MIB), lab.order(32 * MIB)
    lab.run()
    assert lab.last(first).stage is lab.last(second).stage is Stage.BUILT
    assert lab.of(second)[0].time >= lab.last(first).time


@pytest.mark.rule("C31")
@pytest.mark.parametrize("release", ["4.3", "4.17"])
def test_destroy_goes_to_the_end(release: str) -> None:
    """A destroy order is over when the pages are back, in 4.3 by calling again after each EAGAIN."""
    lab = VirtualToolstack(Naive({}), host=ReleaseHost(name=release))
    free = lab.free
    order = lab.order()
    lab.destroy(order, lab.run_until_outcome(order, Stage.BUILT).domid)
    lab.run()
    assert lab.last(order).stage is Stage.DESTROYED
    assert (lab.free, lab.domids) == (free, [])


@pytest.mark.rule("L8")
@pytest.mark.parametrize("builder", BUILDERS)
def test_a_build_that_falls_short_is_rolled_back(builder: str) -> None:
    """naive, and a guest that grows in the middle: failed late, its pages thrown away, no domain left."""
    lab = VirtualToolstack(Naive({}))
    guest, _ = lab.host.build(8 * MIB, 224 * MIB)
    room = lab.free - BIG
    grown = lab.grow_at(3.0, guest, 8 * MIB, room)
    order = lab.order(BIG, builder)
    free = lab.free
    lab.run()
    assert grown == [room]
    assert lab.stages(order) == [Stage.ADMITTED, Stage.FAILED]
    failed = lab.last(order)
    assert 0 < failed.pages_populated < BIG
    assert "populate_physmap stopped at" in failed.reason
    assert (lab.domids, lab.free, lab.claimed) == ([guest.domid], free - room, 0)
    assert lab.node(static_max_path(failed.domid)) is None


@pytest.mark.parametrize(
    ("builder", "release"), [("pv-4.17", "4.17"), ("hvm-4.3", "4.3"), ("hvm-4.17", "4.22")]
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_dismissal_at_any_moment_leaves_nothing_behind(scheme: str, builder: str, release: str) -> None:
    """Dismissed after any number of atomic steps: no half-built domain, no claim, no clamp."""
    counts = [*range(12), *range(12, 48, 6), 100, 300, 540, 600, 1500, 3000, 6000]
    for steps in counts:
        lab = VirtualToolstack(SCHEMES[scheme]({}), ram=128 * MIB, host=ReleaseHost(128 * MIB, release))
        guest, _ = lab.host.build(16 * MIB, 80 * MIB)
        before = lab.free
        lab.order(16 * MIB, builder)
        lab.order(16 * MIB, builder)
        end = lab.host.simulator.steps + steps
        lab.host.simulator.run(stop=lambda lab=lab, end=end: lab.host.simulator.steps >= end)
        lab.dismiss()
        built = [one.domid for one in lab.outcomes if one.stage is Stage.BUILT]
        assert lab.domids == [guest.domid, *built], f"after {steps} steps"
        assert lab.claimed == 0, f"after {steps} steps"
        assert lab.domain(guest.domid).max_pages == 80 * MIB, f"after {steps} steps"
        assert lab.service.farewell().leftovers == ()
        assert built or lab.free == before


@pytest.mark.rule("C31")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_dismissal_during_a_rollback_lets_it_end(scheme: str) -> None:
    """4.3 destroys by calls that answer EAGAIN: a dismissal between them changes nothing, FAILED is told."""
    for steps in (1, 3, 7):
        lab = VirtualToolstack(SCHEMES[scheme]({}), host=ReleaseHost(name="4.3"))
        guest, _ = lab.host.build(8 * MIB, 100 * MIB)
        order = lab.order(BIG, "pv-4.3")
        domid = lab.run_until_outcome(order, Stage.ADMITTED).domid
        lab.run(12.0)
        domid = lab.domids[-1] if domid < 0 else domid
        lab.host.set_max(domid, 0)  # somebody's max_mem ends the build
        lab.host.simulator.run(stop=lambda lab=lab, domid=domid: bool(lab.domain(domid).is_dying))
        end = lab.host.simulator.steps + steps
        lab.host.simulator.run(stop=lambda lab=lab, end=end: lab.host.simulator.steps >= end)
        assert lab.stages(order) == [Stage.ADMITTED], "the rollback is under way"
        lab.dismiss()
        assert lab.stages(order) == [Stage.ADMITTED, Stage.FAILED]
        assert (lab.domids, lab.claimed) == ([guest.domid], 0)
        assert lab.domain(guest.domid).max_pages == 100 * MIB
        assert lab.node(f"/local/domain/{domid}/name") is None


class Broken(Scheme):
    """A plug-in that raises where it is told to."""

    where = "admit_before_create"

    def _raise(self, here: str, launch: Launch) -> None:
        if here == self.where and launch.order.order == 1:
            raise ZeroDivisionError(f"in {here}")

    async def admit_before_create(self, launch: Launch) -> bool:
        self._raise("admit_before_create", launch)
        return False

    async def admit_at_claim(self, launch: Launch, pages: int) -> None:
        self._raise("admit_at_claim", launch)

    async def release(self, launch: Launch) -> None:
        self._raise("release", launch)


@pytest.mark.parametrize("where", ["admit_before_create", "admit_at_claim", "release"])
def test_a_plug_in_that_raises_fails_its_launch_only(where: str) -> None:
    """The outcome carries the exception, the domain is gone, the other launch is built.

    It is a failure only once something has been promised.
    """
    scheme = Broken({})
    scheme.where = where
    lab = VirtualToolstack(scheme)
    broken, other = lab.order(), lab.order()
    lab.run()
    assert lab.last(broken).stage is (Stage.FAILED if where == "release" else Stage.REFUSED)
    assert lab.last(broken).reason.startswith(RAISED)
    assert f"ZeroDivisionError: in {where}" in lab.last(broken).reason
    assert lab.last(other).stage is Stage.BUILT
    assert lab.domids == [lab.last(other).domid]
    lab.dismiss()
    assert len(lab.service.farewell().leftovers) == (where == "release")


class Refuses(Scheme):
    """Says no, and counts how often it is told to release."""

    released = 0

    async def admit_before_create(self, launch: Launch) -> bool:
        raise LaunchRefusedError("not today", 7)

    async def release(self, launch: Launch) -> None:
        self.released += 1


def test_a_refusal_is_told_with_its_commit_and_released_once() -> None:
    """REFUSED, the scheme's words, the commit it rests on, and one release although nothing was built."""
    scheme = Refuses({})
    lab = VirtualToolstack(scheme)
    order = lab.order()
    lab.run()
    refused = lab.last(order)
    assert (refused.stage, refused.reason, refused.commit) == (Stage.REFUSED, "not today", 7)
    assert (scheme.released, lab.domids) == (1, [])


def test_a_host_too_full_for_a_domain_refuses_before_admission() -> None:
    """No room for Xen's own share of the domain: a refusal while the scheme has not admitted yet."""
    lab = VirtualToolstack(Claim({}))
    lab.host.build(lab.free - 600, lab.free)
    order = lab.order()
    lab.run()
    assert lab.stages(order) == [Stage.REFUSED]
    assert lab.last(order).reason == "ENOMEM from SetPagingMempoolSize"
    assert lab.domids == [1]
    assert lab.last(order).pages_populated == 0


class Plain(Naive):
    """A plug-in whose author forgot a word."""

    def admit_before_create(self, launch: Launch) -> bool:  # type: ignore[override]
        return True


def test_a_scheme_that_answers_at_once_is_told_the_word_that_it_lacks() -> None:
    """A plain method where a coroutine is wanted is named, with what it answered and the cure."""
    lab = VirtualToolstack(Plain({}))
    order = lab.order()
    lab.run()
    assert lab.last(order).stage is Stage.REFUSED
    said = "TypeError: admit_before_create answered True at once: write it as async def"
    assert lab.last(order).reason == f"the scheme raised: {said}"
