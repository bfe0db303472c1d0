"""The three schemes under the same trouble, on the real core in virtual time."""

from __future__ import annotations

import pytest

from hypervisor.public.domctl import MaxMem, Physinfo
from hypervisor.public.memory import ClaimPages
from hypervisor.public.orders import Stage
from hypervisor.public.requests import Request
from hypervisor.public.units import Pages
from launch.simulate.sim_world import SimWorld
from tests.toolstack.virtual_toolstack import BIG, MIB, ReleaseHost, VirtualToolstack
from toolstack.claim import Claim
from toolstack.clamp import Clamp
from toolstack.interface import ParametersError, Scheme
from toolstack.naive import Naive
from toolstack.need import need_memory

NEED = need_memory("hvm-4.17", BIG, 1)


def tight(scheme: Scheme, slack: Pages = 0, neighbour: Pages = 0) -> tuple[VirtualToolstack, SimWorld]:
    """A host on which one launch fits with `slack` pages to spare, and a guest that may grow to 240 MiB.

    `neighbour`: headroom of another guest, which stays as it is.
    """
    lab = VirtualToolstack(scheme)
    if neighbour:
        lab.host.build(8 * MIB, 8 * MIB + neighbour)
    guest, _ = lab.host.build(lab.free - NEED - slack - 2000, 240 * MIB)
    more = lab.free - NEED - slack
    assert lab.grow_at(0.0, guest, 300 * MIB, more) == []
    lab.run(0.5)
    assert lab.free == NEED + slack
    return lab, guest


# ---- the same growth in the middle of a build


def test_naive_fails_late_when_a_guest_grows_meanwhile() -> None:
    """It looked, there was room, the guest took it: pages built and thrown away."""
    lab, guest = tight(Naive({}))
    grown = lab.grow_at(5.0, guest, 400 * MIB, 16 * MIB)
    order = lab.order()
    lab.run()
    assert grown == [16 * MIB]
    assert lab.stages(order) == [Stage.ADMITTED, Stage.FAILED]
    assert lab.last(order).pages_populated > BIG // 2


@pytest.mark.rule("C17")
@pytest.mark.parametrize("release", ["4.3", "4.12", "4.17", "4.21", "4.22", "claim-sets"])
def test_claim_never_fails_late(release: str) -> None:
    """The same growth is held back by the claim, in every release; the build ends."""
    lab = VirtualToolstack(Claim({}), host=ReleaseHost(name=release))
    guest, _ = lab.host.build(lab.free - NEED, 240 * MIB)
    grown = lab.grow_at(5.0, guest, 400 * MIB, 16 * MIB)
    order = lab.order(builder="pv-4.17")
    lab.run()
    assert grown[0] < 16 * MIB
    assert lab.stages(order) == [Stage.ADMITTED, Stage.BUILT]
    assert lab.claimed == 0


def test_clamp_keeps_the_guest_from_growing_and_gives_its_maximum_back() -> None:
    """The same growth is held back by the lowered max_pages; afterwards it is the lifetime maximum again."""
    lab, guest = tight(Clamp({}))
    grown = lab.grow_at(5.0, guest, 400 * MIB, 16 * MIB)
    order = lab.order()
    lab.run(10.0)
    during = lab.domain(guest.domid).max_pages
    lab.run()
    assert lab.stages(order) == [Stage.ADMITTED, Stage.BUILT]
    assert grown == [0]
    assert during < 240 * MIB == lab.domain(guest.domid).max_pages


# ---- no room from the start


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        (Naive({}), "pages free"),
        (Claim({}), "ENOMEM from claim_pages"),
        (Clamp({}), "pages too few are free"),
    ],
)
def test_no_room_is_refused_at_once_without_a_page_moved(scheme: Scheme, reason: str) -> None:
    """All three see what is plainly not there, and leave the host as it was."""
    lab = VirtualToolstack(scheme)
    guest, _ = lab.host.build(lab.free - BIG // 2, 240 * MIB)
    free = lab.free
    order = lab.order()
    lab.run()
    assert lab.stages(order) == [Stage.REFUSED]
    refused = lab.last(order)
    assert reason in refused.reason
    assert refused.commit > 0
    assert (refused.pages_populated, lab.free, lab.domids) == (0, free, [guest.domid])
    assert lab.domain(guest.domid).max_pages == 240 * MIB


# ---- claim


@pytest.mark.rule("L7")
def test_claim_is_made_once_and_cancelled_once() -> None:
    """Two claim_pages: the total at the builder's place, and 0 before the domain runs."""
    lab = VirtualToolstack(Claim({}))
    lab.order()
    lab.run()
    calls = [call for _, call in lab.host.calls.sent[0] if isinstance(call, ClaimPages)]
    assert [call.nr_extents for call in calls] == [BIG - 0x20, 0]


@pytest.mark.rule("L5")
def test_the_claim_of_the_4_3_hvm_builder_is_too_small_to_keep_its_word() -> None:
    """It leaves 0xa0 pages unprotected: a guest that takes them makes an admitted build fail late."""
    ends: dict[str, Stage] = {}
    for builder in ("hvm-4.3", "hvm-4.17"):
        lab = VirtualToolstack(Claim({}), host=ReleaseHost(name="4.3"))
        guest, _ = lab.host.build(8 * MIB, 240 * MIB)
        order = lab.order(builder=builder)
        lab.run_until_outcome(order, Stage.ADMITTED)
        unclaimed = lab.free - lab.claimed
        assert lab.grow_at(0.0, guest, 300 * MIB, unclaimed + 100) == []
        lab.run()
        ends[builder] = lab.last(order).stage
    assert ends == {"hvm-4.3": Stage.FAILED, "hvm-4.17": Stage.BUILT}


@pytest.mark.rule("L6", "C30")
@pytest.mark.parametrize(("builder", "cancels"), [("pv-4.17", 0), ("hvm-4.17", 1)])
def test_who_cancels_the_claim_of_a_failed_build(builder: str, cancels: int) -> None:
    """meminit_pv of 4.17 leaves it to destroydomain, the others cancel it; either way it is gone."""
    lab = VirtualToolstack(Claim({}))
    order = lab.order(builder=builder)
    domid = lab.run_until_outcome(order, Stage.ADMITTED).domid
    lab.run(4.0)
    lab.host.set_max(domid, 0)  # somebody's max_mem ends the build
    lab.run()
    assert lab.last(order).stage is Stage.FAILED
    zeroes = [one for _, one in lab.host.calls.sent[0] if isinstance(one, ClaimPages) and not one.nr_extents]
    assert (len(zeroes), lab.claimed, lab.domids) == (cancels, 0, [])


# ---- clamp


def limits(lab: VirtualToolstack, guests: list[SimWorld]) -> list[Pages]:
    """max_pages of the guests."""
    return [lab.domain(guest.domid).max_pages for guest in guests]


def three_guests(scheme: Scheme) -> tuple[VirtualToolstack, list[SimWorld]]:
    """Headrooms of 80, 40 and 20 MiB on a host with 136 MiB free and a bit."""
    lab = VirtualToolstack(scheme)
    guests = [lab.host.build(28 * MIB, (28 + room) * MIB)[0] for room in (80, 40, 20)]
    assert 136 * MIB < lab.free < 137 * MIB
    return lab, guests


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"cuts": "proportional"}, (4, 2, 1)),
        ({"cuts": "equal"}, (1, 1, 1)),
        ({"cuts": "largest-slack"}, (1, 0, 0)),
        ({"domains": 1}, (1, 0, 0)),
        ({"domains": 2, "cuts": "equal"}, (1, 1, 0)),
    ],
)
def test_cuts_are_spread_as_the_parameters_say(
    parameters: dict[str, object], expected: tuple[int, int, int]
) -> None:
    """Over all or the L with most headroom; in proportion, equally, or from the largest slack first."""
    lab, guests = three_guests(Clamp(parameters))
    before = limits(lab, guests)
    order = lab.order(32 * MIB)
    lab.run_until_outcome(order, Stage.ADMITTED)
    cuts = [was - now for was, now in zip(before, limits(lab, guests), strict=True)]
    unit = sum(cuts) / sum(expected)
    assert [round(cut / unit, 1) for cut in cuts] == [float(part) for part in expected]


def test_fit_cuts_what_it_takes_and_m_cuts_the_need() -> None:
    """After "fit" the launch fits even if all grow to their limits, exactly; "m" cuts M whatever is free."""
    need = need_memory("hvm-4.17", 32 * MIB, 1)
    for total in ("fit", "m"):
        lab, guests = three_guests(Clamp({"total": total}))
        free, before = lab.free, limits(lab, guests)
        order = lab.order(32 * MIB)
        lab.run_until_outcome(order, Stage.ADMITTED)
        after = limits(lab, guests)
        growth = sum(lab.domain(one.domid).max_pages - lab.domain(one.domid).tot_pages for one in guests)
        assert total == "m" or free - growth == need
        assert total == "fit" or sum(before) - sum(after) == need


def test_one_domain_over_its_new_limit_refuses_the_launch() -> None:
    """A guest that grows between sample and limit: all put back, refused, and there was room all the time."""
    lab, guest = tight(Clamp({"domains": 1}), slack=4 * MIB + 50, neighbour=4 * MIB)
    told = lab.host.calls.invoked

    def invoked(domid: int, incarnation: int, seq: int, requests: tuple[Request, ...]) -> None:
        told(domid, incarnation, seq, requests)
        if isinstance(requests[0], Physinfo) and not lab.outcomes:
            lab.grow_at(0.0, guest, 400 * MIB, 100)

    lab.host.calls.invoked = invoked  # type: ignore[method-assign]
    idle = limits(lab, [guest])
    order = lab.order()
    lab.run()
    refused = lab.last(order)
    assert refused.stage is Stage.REFUSED
    assert refused.reason == f"over the temporary limit: domain {guest.domid} by 50 pages"
    assert lab.free == NEED + 4 * MIB - 50, "the launch would have fitted"
    assert refused.admission_hypercalls == 6, "two lists, physinfo, one cut, re-read, put back"
    assert limits(lab, [guest]) == idle


def test_clamps_of_launches_at_once_compose() -> None:
    """The first to end gives back only what the second does not need; at the end nothing is cut."""
    scheme = Clamp({})
    lab, guests = three_guests(scheme)
    before = limits(lab, guests)
    short, long = lab.order(16 * MIB), lab.order(64 * MIB)
    lab.run_until_outcome(short, Stage.BUILT)
    lab.run(lab.host.now + 0.1)
    assert lab.stages(long) == [Stage.ADMITTED]
    assert limits(lab, guests) != before
    # Now every guest takes all that its limit allows: the second build must still end.
    grown = [lab.grow_at(0.0, guest, 300 * MIB, 80 * MIB) for guest in guests]
    lab.run()
    assert sum(got[0] for got in grown) > 0
    assert lab.last(long).stage is Stage.BUILT
    assert limits(lab, guests) == before


def test_a_domain_that_goes_while_it_is_clamped_is_no_trouble() -> None:
    """Restoring skips it, the others get their maximum back."""
    lab, guests = three_guests(Clamp({}))
    before = limits(lab, guests)
    order = lab.order(32 * MIB)
    lab.run_until_outcome(order, Stage.ADMITTED)
    lab.kill_domain(guests[0].domid)
    lab.run()
    assert lab.last(order).stage is Stage.BUILT
    assert limits(lab, guests[1:]) == before[1:]


@pytest.mark.parametrize(
    ("seen", "lifetime"),
    [
        (60 * MIB, 108 * MIB + 256),
        (108 * MIB + 200, 108 * MIB + 256),
        (108 * MIB, 108 * MIB),
        (108 * MIB + 256, 108 * MIB + 256),
        (120 * MIB, 120 * MIB),
    ],
)
def test_a_lifetime_maximum_hidden_by_another_clamp_is_found_in_xenstore(
    seen: Pages, lifetime: Pages
) -> None:
    """max_pages below what memory/static-max stands for is somebody's clamp, and not what is restored."""
    lab, guests = three_guests(Clamp({}))
    lab.host.set_max(guests[0].domid, seen)
    order = lab.order(32 * MIB)
    lab.run()
    assert lab.last(order).stage is Stage.BUILT
    assert limits(lab, guests)[0] == lifetime


def test_clamps_of_two_toolstacks_leave_lifetime_maxima_behind() -> None:
    """They undo each other's limits while they last, but in the end every domain has its own again."""
    lab, guests = three_guests(Clamp({}))
    for guest, room in zip(guests, (80, 40, 20), strict=True):
        lab.host.set_max(guest.domid, (28 + room) * MIB + 256)
    before = limits(lab, guests)
    other = VirtualToolstack(Clamp({"cuts": "equal"}), host=lab.host, name=78)
    for pages in (16 * MIB, 24 * MIB, 8 * MIB):
        lab.order(pages)
        lab.run(lab.host.now + 1.3)
        other.order(pages)
        lab.run(lab.host.now + 1.1)
    assert limits(lab, guests) != before
    lab.run()
    assert limits(lab, guests) == before


def test_a_build_of_another_toolstack_counts_but_is_not_cut() -> None:
    """A paused domain's missing pages are promised to it; clamping it would end its build."""
    first = VirtualToolstack(Naive({}))
    second = VirtualToolstack(Clamp({}), host=first.host, name=78)
    building = first.order(BIG)
    domid = first.run_until_outcome(building, Stage.ADMITTED).domid
    first.run(2.0)
    orders = [second.order(BIG) for _ in range(3)]
    first.run()
    assert first.last(building).stage is Stage.BUILT
    ends = [second.last(order).stage for order in orders]
    assert ends == [Stage.BUILT, Stage.BUILT, Stage.REFUSED]
    assert not [one for _, one in first.host.calls.sent[0] if isinstance(one, MaxMem) and one.domid == domid][
        1:
    ]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"cuts": "fair"}, "cuts"),
        ({"domains": 0}, "domains"),
        ({"totals": "m"}, "totals"),
    ],
)
def test_clamp_says_which_parameter_is_wrong(parameters: dict[str, object], text: str) -> None:
    """One line that names the key."""
    with pytest.raises(ParametersError, match=text):
        Clamp(parameters)
