"""The checker itself: a cooked book is found out, and the table permits no more than it names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hypervisor.core.allocation import IN_FLIGHT
from hypervisor.core.domain import Dying
from hypervisor.core.heap.frames import FREE
from hypervisor.core.invariants import PERMITS, Broken, check, check_counters, permitting_rule, unpermitted
from hypervisor.core.releases import RELEASES, release
from hypervisor.core.steps import CLAIMS, Step, domain_resource, step
from hypervisor.core.transitions import Auditor, contents, trace
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, PopulatePhysmap
from hypervisor.public.requests import Reply
from tests.core.small_host import EVERY_RELEASE, SmallHost

Cook = Callable[[SmallHost, int], None]


def populated(name: str = "4.17") -> tuple[SmallHost, int]:
    """A sound host with one HVM domain of 20 pages and a claim of 10."""
    bench = SmallHost(name)
    guest = bench.create(hvm=True)
    assert bench.populate(guest, 0, 20) == 20
    assert bench.claim(guest, 30) == 0
    assert bench.breaks() == ()
    return bench, guest.domid


def lose_a_page(bench: SmallHost, domid: int) -> None:
    bench.domain(domid).tot_pages -= 1


def lose_a_claim(bench: SmallHost, domid: int) -> None:
    bench.domain(domid).outstanding_pages += 1


def keep_a_claim(bench: SmallHost, domid: int) -> None:
    bench.domain(domid).outstanding_pages -= 1


def promise_too_much(bench: SmallHost, domid: int) -> None:
    bench.domain(domid).outstanding_pages += 10_000
    bench.host.outstanding_claims += 10_000


def claim_of_the_dead(bench: SmallHost, domid: int) -> None:
    bench.domain(domid).is_dying = Dying.DEAD


def own_a_free_frame(bench: SmallHost, domid: int) -> None:
    bench.host.frames.set_owner(next(bench.host.heap.free_blocks())[0], 0, domid, FREE)


def free_an_owned_frame(bench: SmallHost, domid: int) -> None:
    mfn = next(mfn for mfn in range(4096) if bench.host.frames.owner(mfn) == domid)
    bench.host.heap.give(mfn, 0)


def give_a_frame_to_nobody(bench: SmallHost, domid: int) -> None:
    mfn = next(mfn for mfn in range(4096) if bench.host.frames.owner(mfn) == domid)
    bench.host.frames.set_owner(mfn, 0, 77, domid)


def forget_a_frame_in_flight(bench: SmallHost, domid: int) -> None:
    mfn = next(mfn for mfn in range(4096) if bench.host.frames.owner(mfn) == domid)
    bench.host.frames.set_owner(mfn, 0, IN_FLIGHT, domid)
    bench.domain(domid).tot_pages -= 1


def map_a_frame_twice(bench: SmallHost, domid: int) -> None:
    physmap = bench.domain(domid).p2m
    assert physmap is not None
    mfn = physmap.lookup(3)
    assert mfn is not None
    physmap.map(1000, mfn, 0)


def map_a_frame_of_another(bench: SmallHost, domid: int) -> None:
    physmap = bench.domain(domid).p2m
    assert physmap is not None
    physmap.map(1000, next(mfn for mfn in range(4096) if bench.host.frames.owner(mfn) == 0), 0)


@pytest.mark.parametrize(
    ("cook", "invariant", "form"),
    [
        (lose_a_page, "I1", ""),
        (lose_a_page, "frames", "uncounted"),
        (lose_a_claim, "I2", "short"),
        (keep_a_claim, "I2", "leak"),
        (promise_too_much, "I3", "debt"),
        (claim_of_the_dead, "I5", "zombie"),
        (own_a_free_frame, "frames", "overlap"),
        (own_a_free_frame, "frames", "uncounted"),
        (free_an_owned_frame, "I1", ""),
        (free_an_owned_frame, "frames", "overlap"),
        (give_a_frame_to_nobody, "frames", "orphan"),
        (forget_a_frame_in_flight, "frames", "in flight"),
        (map_a_frame_twice, "p2m", "twice"),
        (map_a_frame_of_another, "p2m", "foreign"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.rule("I1", "I2", "I3", "I5")
def test_a_cooked_book_is_found_out(cook: Cook, invariant: str, form: str) -> None:
    """Each way of spoiling the host's state is reported by its name."""
    bench, domid = populated()
    cook(bench, domid)
    assert (invariant, form) in [(one.invariant, one.form) for one in check(bench.host, ())]


def claim_step(domid: int, name: str) -> Step:
    """A declared step on one domain."""
    return step(name, writes=(CLAIMS, domain_resource(domid)))


@pytest.mark.rule("I2", "I3", "I4", "I6")
def test_the_auditor_tells_how_a_break_came_about() -> None:
    """Steps that no release does are reported: a claim lost, spent twice, above max, pages taken by force."""
    bench, domid = populated()
    domain, host = bench.domain(domid), bench.host

    auditor = Auditor(host)
    host.outstanding_claims -= 3
    assert [(one.invariant, one.form) for one in auditor.after(claim_step(domid, "take"))] == [
        ("I2", "drift")
    ]

    auditor = Auditor(host)
    domain.max_pages = 5
    found = [(one.invariant, one.form) for one in auditor.after(claim_step(domid, "assign"))]
    assert found == [("I4", "clamp")]

    auditor = Auditor(host)
    domain.tot_pages += 1
    found = [(one.invariant, one.form) for one in auditor.after(claim_step(domid, "assign"))]
    assert found == [("I4", "growth")]

    auditor = Auditor(host)
    domain.outstanding_pages += 1
    host.outstanding_claims += 1
    found = [(one.invariant, one.form) for one in auditor.after(claim_step(domid, "claim"))]
    assert found == [("I4", "install")]

    auditor = Auditor(host)
    host.outstanding_claims += host.heap.total_avail
    domain.outstanding_pages += host.heap.total_avail
    found = [(one.invariant, one.form) for one in auditor.after(claim_step(domid, "take"))]
    assert found == [("I3", "spent")]

    auditor = Auditor(host)
    assert host.heap.take(0, (0,)) is not None
    found = [(one.invariant, one.form) for one in auditor.after(claim_step(0, "take"))]
    assert ("I6", "unclaimed") in found


@pytest.mark.rule("I9")
def test_a_trace_of_a_refusal_is_found() -> None:
    """A refused claim that changed a counter, a populate refused at once that moved a page: both reported."""
    bench, domid = populated()
    before = contents(bench.host)
    bench.domain(domid).max_pages += 1
    refusal = Reply(-Errno.EINVAL, 1, 1)
    assert [
        one.form for one in trace(before, contents(bench.host), ClaimPages(domid, 1), refusal, ["claim"])
    ] == ["other: counters"]
    assert bench.host.heap.take(0, (0,)) is not None
    request = PopulatePhysmap(domid, ((0, 1),))
    broken = trace(before, contents(bench.host), request, Reply(0, 1, 1), ["take"])
    assert [one.form for one in broken] == ["at once: counters", "at once: heap"]
    assert unpermitted(broken, release("4.22")) == broken
    assert trace(before, contents(bench.host), request, Reply(1, 1, 1), ["take"]) == ()


@pytest.mark.rule("I5", "P10")
def test_a_claim_between_kill_and_unclaim_is_told_from_one_on_a_zombie() -> None:
    """With the pending steps given, only a kill under way for that very domain excuses its claim."""
    bench, domid = populated()
    bench.domain(domid).is_dying = Dying.DYING
    for pending, form in (
        (None, "killed"),
        ((), "zombie"),
        ((claim_step(domid, "unclaim"),), "killed"),
        ((claim_step(domid + 1, "unclaim"),), "zombie"),
        ((claim_step(domid, "relinquish"),), "zombie"),
    ):
        assert [one.form for one in check_counters(bench.host, pending) if one.invariant == "I5"] == [form]


@pytest.mark.rule("I2", "I3", "I5", "I9")
def test_4_22_permits_no_break_of_the_claims_books() -> None:
    """Since 4.22 claim and free fall together: I2, I3 and I6 hold but for offlining, I5 but while killing."""
    permitted = [(one.invariant, one.form) for one in PERMITS if "4.22" in one.releases]
    assert [one for one in permitted if one[0] in ("I1", "I2", "I3", "I4", "I6", "I11")] == [
        ("I3", "offlined"),
        ("I3", "overclaim offlined"),
        ("I4", "in flight"),
        ("I4", "last sharer"),  # S9a: no matter of claims
        ("I6", "debt offlined"),
    ]
    assert [form for invariant, form in permitted if invariant == "I5"] == ["killed"]
    assert ("I9", "populate: claims") in permitted


@pytest.mark.parametrize("name", EVERY_RELEASE)
def test_the_table_is_sound(name: str) -> None:
    """Every row names known releases and a rule, no row twice; I1 and the frames are excused nowhere."""
    keys = [(one.invariant, one.form) for one in PERMITS]
    assert len(keys) == len(set(keys))
    assert all(set(one.releases) <= set(RELEASES) and one.rule for one in PERMITS)
    for invariant in ("I1", "I4", "I11", "heap", "frames", "p2m", "domain"):
        assert permitting_rule(Broken(invariant, "", ""), release(name)) is None
