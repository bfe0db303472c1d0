"""The judge over journals made by hand through the real core, where every verdict is known beforehand."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from hypervisor.core.steps import Caller
from hypervisor.public.domctl import CreateDomain, DestroyDomain, MaxMem, Physinfo
from hypervisor.public.memory import ClaimPages
from hypervisor.public.orders import Stage
from launch.judge.deficit import kills_charged, swap_charged
from launch.judge.figures import figures, flat
from launch.judge.pain import gini
from launch.judge.report import RunJudgement
from launch.judge.verdict import Cause, GuestJudgement, Judgement, Marks, Refused
from tests.launch.journals import TOOLSTACK, HandMade


def refuse(lab: HandMade, pages: int) -> int:
    """A launch that looks at the host and says no."""
    order = lab.order(pages)
    lab.do(Physinfo())
    lab.say(order, Stage.REFUSED, 10.0, sampled=lab.commit)
    lab.clock(10.0)
    return order


def test_a_launch_refused_while_it_fitted_to_the_end_is_a_false_refusal() -> None:
    """Free memory covers it at the decision, and no grant in the build time would have been refused."""
    lab = HandMade()
    guest = lab.domain(1000, 4000)
    refuse(lab, lab.free - 3000)
    assert lab.grow(guest, 1000) == 1000
    lab.clock(20.0)
    assert lab.grow(guest, 2000) == 2000
    lab.clock(111.0)  # so it grew by then, and the claim had gone
    launch = lab.judge_one(build_time=100.0)
    assert launch.judgement is Judgement.FALSE_REFUSAL
    assert launch.fit is not None and launch.fit.throughout and launch.fit.tightest is not None
    assert launch.fit.tightest.domid == guest.domid and launch.fit.margin is not None
    assert launch.fit.margin == launch.fit.free - launch.fit.needed - 1000


def test_a_launch_refused_before_others_took_its_memory_fitted_at_first_only() -> None:
    """The grant that its claim would have refused is the witness: who, which operation, which commit."""
    lab = HandMade()
    guest = lab.domain(1000, 16000)
    refuse(lab, lab.free - 500)
    growth = lab.growth(guest, 600)
    while growth.reply is None:
        lab.step(growth)
    launch = lab.judge_one(build_time=100.0)
    assert launch.judgement is Judgement.FITTED_AT_FIRST and launch.fit is not None
    assert launch.fit.at_decision and launch.fit.throughout is False and launch.fit.margin == -1
    witness = launch.fit.tightest
    assert witness is not None
    assert (witness.domid, witness.operation) == (guest.domid, growth.number)
    assert growth.first_commit < witness.commit < growth.last_commit
    spare = launch.fit.free - launch.fit.needed
    assert witness.commit == growth.first_commit + 3 * spare  # take, assign, map


def test_a_refusal_for_a_build_that_outlasts_the_median_is_false_but_promised() -> None:
    """The claim is held for the median build; whether what comes after breaks a promise is said beside it.

    What would have been refused first decides: not promised is what a guest takes, what a build takes that
    was admitted later, and what is taken when the launch would have been gone.
    """
    for taker, promised in (("build", True), ("guest", False), ("later", False), ("gone", False)):
        lab = HandMade()
        guest = lab.domain(1000, 16000)
        large = lab.order(lab.free - 3000)
        lab.do(Physinfo())
        if taker != "later":
            lab.say(large, Stage.ADMITTED, 5.0)
        refused = lab.order(4000, **({"lifetime": 50.0} if taker == "gone" else {}))
        lab.do(Physinfo())
        lab.say(refused, Stage.REFUSED, 10.0, sampled=lab.commit)
        lab.clock(10.0)
        lab.do(Physinfo())
        if taker == "later":
            lab.say(large, Stage.ADMITTED, 11.0)
        assert lab.do(CreateDomain()).ret == 0
        made = Caller(2, 2)
        lab.limit(made, 16000)
        assert lab.grow(made, 2000, TOOLSTACK) == 2000
        lab.clock(250.0)  # the median is over
        if taker == "guest":
            lab.grow(guest, lab.free - 3900)
        rest = lab.free - 3000
        assert lab.grow(made, rest, TOOLSTACK) == rest
        lab.say(large, Stage.BUILT, 300.0, domid=2, incarnation=2)
        lab.clock(300.0)
        judged = lab.judge(100.0)
        launch = judged.launches[refused - 1]
        assert launch.judgement is Judgement.FALSE_REFUSAL and launch.fit is not None
        assert launch.fit.promised is None or launch.fit.promised.domid == 2
        assert (launch.fit.promised is not None) == promised, taker
        row = figures([judged])
        assert (row.false_refusals, row.promised_refusals) == (1, promised)
        assert row.falsely_refused_pages == (0 if promised else 4000)
        witnesses = "".join(RunJudgement(100.0, {"mine": (judged,)}).witnesses())
        assert ("the build of domain 2, admitted before" in witnesses) == promised


def test_claims_of_others_make_a_refusal_right() -> None:
    """Pages are free, but claimed: what was not there to be had was rightly refused."""
    lab = HandMade()
    other = lab.domain(100, 16000)
    assert lab.do(ClaimPages(other.domid, 10_000)).ret == 0
    refuse(lab, lab.free - 5000)
    launch = lab.judge_one()
    assert launch.judgement is Judgement.REFUSED and launch.fit is not None
    assert launch.fit.claims == 9900 and launch.fit.needed < launch.fit.free


def test_an_admission_beyond_what_is_free_is_a_false_grant() -> None:
    """One page more than there is, Xen's own share included, is not there."""
    for excess, judgement in ((1, Judgement.FALSE_GRANT), (0, Judgement.GRANTED)):
        lab = HandMade()
        lab.domain(1000, 1000)
        structures = lab.machine.host.release.pv_structure_pages
        order = lab.order(lab.free - structures + excess)
        lab.do(Physinfo())
        lab.say(order, Stage.ADMITTED, 10.0)
        created = lab.do(CreateDomain())
        assert created.ret == 0
        lab.say(order, Stage.FAILED, 11.0, domid=2, incarnation=2)
        launch = lab.judge_one()
        assert launch.judgement is judgement, launch


def test_a_build_that_others_starve_is_overtaken_and_fails_late() -> None:
    """Cause, free pages, takers and page-seconds of a late failure come out to the page and second."""
    lab = HandMade(ram=6144)
    guest = lab.domain(1000, 16000)
    order = lab.order(2000)
    lab.do(Physinfo())
    lab.say(order, Stage.ADMITTED, 10.0, sampled=lab.commit)
    lab.clock(10.0)
    made = Caller(2, 2)
    assert lab.do(CreateDomain()).ret == 0
    lab.limit(made, 2000)
    assert lab.grow(made, 800, TOOLSTACK) == 800
    lab.clock(12.0)
    taken = lab.free
    assert lab.grow(guest, taken) == taken
    lab.clock(13.0)
    assert lab.grow(made, 1200, TOOLSTACK) == 0
    failed_at = lab.commit
    lab.say(order, Stage.FAILED, 14.0, domid=2, incarnation=2, pages_populated=800)
    lab.clock(20.0)
    lab.do(DestroyDomain(2))
    lab.clock(21.0)
    launch = lab.judge_one()
    assert launch.judgement is Judgement.OVERTAKEN
    failure = launch.failure
    assert failure is not None
    assert (failure.cause, failure.commit, failure.free) == (Cause.EMPTY, failed_at, 0)
    assert failure.page_seconds == 800 * (21.0 - 12.0)
    assert [(one.domid, one.up) for one in failure.takers] == [(guest.domid, taken)]


def test_what_a_claim_protects_is_never_overtaken() -> None:
    """An admitted claim counts as the launch's own: its window stays whole to the last page."""
    for name in ("4.17", "4.22"):
        lab = HandMade(name, 6144)
        guest = lab.domain(1000, 16000)
        order = lab.order(2000)
        assert lab.do(CreateDomain()).ret == 0
        made = Caller(2, 2)
        lab.limit(made, 2000)
        assert lab.do(ClaimPages(2, 2000)).ret == 0
        lab.say(order, Stage.ADMITTED, 10.0, sampled=lab.commit, domid=2, incarnation=2)
        assert lab.grow(made, 500, TOOLSTACK) == 500
        everything = lab.free - 1500
        assert lab.grow(guest, everything + 50) == everything
        assert lab.grow(made, 1500, TOOLSTACK) == 1500
        lab.say(order, Stage.BUILT, 30.0, domid=2, incarnation=2)
        judged = lab.judge()
        (launch,) = judged.launches
        assert launch.judgement is Judgement.GRANTED and launch.fit is not None
        assert launch.fit.claims == 0 and launch.fit.margin == 0
        (hurt,) = judged.guests
        (refused,) = hurt.refused
        assert (refused.cause, refused.pages, refused.pages_while_free) == (Cause.CLAIM, 50, 50)
        assert refused.free == 1500 and refused.by == "claim of domain 2 (launch 1): 1,500 pages"


def test_the_window_of_a_decision_names_who_moved_in_it() -> None:
    """Pages moved between first sample and last check are summed, and who moved most is named."""
    lab = HandMade()
    calm, busy = lab.domain(1000, 2000), lab.domain(1000, 2000)
    order = lab.order(100)
    assert lab.grow(busy, 7) == 7  # before the sample: not in the window
    lab.do(Physinfo())
    sampled = lab.commit
    lab.clock(5.0)
    first = lab.commit + 1
    assert lab.grow(busy, 30) == 30
    lab.shrink(calm, 4)
    assert lab.grow(busy, 20) == 20
    last = lab.commit
    lab.do(Physinfo())
    decided = lab.commit
    lab.say(order, Stage.ADMITTED, 6.5, sampled=sampled)
    lab.clock(6.5)
    assert lab.grow(busy, 9) == 9  # after the last check
    window = lab.judge_one().window
    assert window is not None
    assert (window.sampled, window.decided, window.seconds) == (sampled, decided, 1.5)
    assert (window.guests_up, window.guests_down, window.others_up) == (50, 4, 0)
    witness = window.witness
    assert witness is not None and (witness.domid, witness.up, witness.down) == (busy.domid, 50, 0)
    assert first < witness.first_commit < witness.last_commit < last + 1


def test_a_clamp_is_charged_and_a_guests_own_maximum_is_not() -> None:
    """A refusal below a lowered limit names the max_mem; at the lifetime maximum it is the guest's own."""
    lab = HandMade()
    clamped, content = lab.domain(1000, 2000), lab.domain(1000, 1500)
    lab.limit(clamped, 1200)
    lowered = lab.commit
    assert lab.grow(clamped, 500) == 200
    assert lab.grow(content, 800) == 500
    lab.limit(clamped, 2000)
    assert lab.grow(clamped, 900) == 800
    judged = lab.judge()
    by_domain = {guest.domid: guest for guest in judged.guests}
    clamp, own = by_domain[clamped.domid].refused
    assert (clamp.cause, clamp.pages, clamp.pages_while_free, clamp.times) == (Cause.CLAMP, 300, 300, 1)
    assert clamp.by.startswith("max_mem 1,200 pages") and f"commit {lowered}, by toolstack 4d" in clamp.by
    assert (own.cause, own.pages) == (Cause.OWN_MAXIMUM, 100)
    (other,) = by_domain[content.domid].refused
    assert (other.cause, other.pages) == (Cause.OWN_MAXIMUM, 300)
    row = figures([judged])
    assert row.pain_by_scheme == 300 and row.refused_while_free == {"clamp": 300, "own maximum": 400}


def test_marks_are_the_highest_sums_without_dom0() -> None:
    """Sum of lifetime maxima, and of what is held or claimed, at their highest."""
    lab = HandMade()
    first = lab.domain(1000, 3000)
    second = lab.domain(500, 2000)
    lab.limit(second, 600)
    assert lab.do(ClaimPages(second.domid, 550)).ret == 0
    lab.do(DestroyDomain(first.domid))
    marks = lab.judge().marks
    assert (marks.sum_of_maxes, marks.max_of_sums, marks.domains) == (5000, 1550, 2)
    assert marks.capacity == 16384 - 2048


# ---- the counterfactual, done the long way


def scripted(lab: HandMade, rng: Random, claim_at: int, needed: int) -> tuple[list[int], int]:
    """Thirty random requests; from number `claim_at` on `needed` pages are claimed. Answers, free by then."""
    guests = [lab.domain(40, 300) for _ in range(3)]
    answers: list[int] = []
    free = 0
    for number in range(30):
        if number == claim_at:
            free = lab.free - lab.machine.host.outstanding_claims
            lab.machine.host.outstanding_claims += needed
        guest = rng.choice(guests)
        action, pages = rng.random(), rng.randrange(1, 45)
        if action < 0.6:
            answers.append(lab.grow(guest, pages))
        elif action < 0.8:
            answers.append(lab.do(ClaimPages(guest.domid, rng.randrange(0, 6000))).ret)
        else:
            answers.append(lab.do(MaxMem(guest.domid, 4 * rng.randrange(150, 300))).ret)
    return answers, free


@pytest.mark.parametrize("name", ["4.17", "4.22"])
def test_throughout_is_what_a_second_run_with_the_claim_in_place_would_show(name: str) -> None:
    """Over random histories, the judge's word agrees with the same requests run again under the claim."""
    seen: set[bool] = set()
    for seed in range(40):
        rng = Random(seed)
        needed, claim_at = rng.randrange(25, 450), rng.randrange(5, 25)
        plain, free = scripted(HandMade(name, 2848), Random(seed), claim_at, 0)
        claimed, _ = scripted(HandMade(name, 2848), Random(seed), claim_at, needed)
        lab = HandMade(name, 2848)
        structures = lab.machine.host.release.pv_structure_pages
        lab.order(needed - structures)
        decided = _commit_before(name, seed, claim_at)
        assert scripted(lab, Random(seed), claim_at, 0)[0] == plain
        lab.outcomes.clear()
        lab.say(1, Stage.REFUSED, 1.0, commit=decided)
        fit = lab.judge_one().fit
        assert fit is not None and fit.needed == needed and fit.free - fit.claims == free
        assert fit.at_decision == (needed <= free)
        if fit.at_decision:
            seen.add(fit.throughout is True)
            assert fit.throughout == (claimed[claim_at:] == plain[claim_at:]), seed
    assert seen == {True, False}


def _commit_before(name: str, seed: int, claim_at: int) -> int:
    """The commit after which the claim is put in place: the history is run just so far."""
    lab = HandMade(name, 2848)

    class EnoughError(Exception):
        pass

    class Watched(Random):
        actions = 0

        def choice(self, seq):  # type: ignore[no-untyped-def]
            if self.actions == claim_at:
                raise EnoughError
            self.actions += 1
            return super().choice(seq)

    with pytest.raises(EnoughError):
        scripted(lab, Watched(seed), -1, 0)
    return lab.commit


# ---- figures


def test_concentration_is_ginis() -> None:
    """0 when all suffer alike, 1 - 1/n when one of n suffers all, None when nobody does."""
    assert gini([5, 5, 5, 5]) == 0
    assert gini([0, 0, 0, 8]) == 0.75
    assert gini([1, 3]) == 0.25
    assert gini([0, 0]) is None and gini([]) is None


def test_swap_is_charged_up_to_the_deficits_that_refusals_left() -> None:
    """Each cause pays for what it left missing and for nothing beyond it, nor for what was swapped before."""
    clamp = Refused(Cause.CLAMP, 9, 2700, 9, 2700, 1, 1, 300, "", deficit=30)
    empty = Refused(Cause.EMPTY, 1, 100, 0, 0, 2, 2, 0, "", deficit=10)

    def charges(swapped: int, before: int = 0, kills: int = 0) -> dict[str, float]:
        guest = GuestJudgement(1, 1, None, (clamp, empty), swapped, before, kills)
        found = kills_charged(guest) if kills else swap_charged(guest)
        return {cause.value: round(amount, 6) for cause, amount in found.items()}

    assert charges(80) == {"clamp": 30.0, "empty heap": 10.0, "demand": 40.0}
    assert charges(20) == {"clamp": 15.0, "empty heap": 5.0}
    assert charges(80, before=60) == {"clamp": 15.0, "empty heap": 5.0, "demand": 60.0}
    assert charges(80, before=80) == {"demand": 80.0}
    assert charges(80, kills=8) == {"clamp": 3.0, "empty heap": 1.0, "demand": 4.0}
    assert charges(0, kills=8) == {"clamp": 6.0, "empty heap": 2.0}
    assert charges(0) == {}
    assert swap_charged(GuestJudgement(1, 1, None, (), 80)) == {Cause.DEMAND: 80}


def test_pages_refused_again_are_no_new_deficit() -> None:
    """A driver asks for the same 300 pages until it has them; what more it asks for then is new."""
    lab = HandMade()
    guest = lab.domain(1000, 2000)
    lab.limit(guest, 1000)
    for second in (2.0, 4.0, 8.0):
        assert lab.grow(guest, 300) == 0
        lab.clock(second)
    lab.limit(guest, 1100)
    assert lab.grow(guest, 350) == 100  # 50 more are missing, 100 fewer of the 300
    lab.clock(16.0)
    lab.shrink(guest, 50)
    assert lab.grow(guest, 90) == 50  # another wave: 40 of its own
    lab.clock(20.0)
    assert lab.grow(guest, 25) == 0 and lab.grow(guest, 35) == 0  # two calls of one attempt: 60
    lab.clock(30.0)
    (refused,) = lab.judge().guests[0].refused
    assert (refused.times, refused.pages) == (7, 3 * 300 + 250 + 40 + 60)
    assert refused.deficit == 300 + 50 + 40 + 20


def test_a_host_that_dom0_fills_has_no_shares() -> None:
    """Capacity 0 divides nothing."""
    judged = replace(HandMade().judge(), marks=Marks(0, 0, 0, 0))
    row = figures([judged])
    assert row.sum_of_maxes is None and flat(row)["max_of_sums"] is None
    assert ("sum of maxes / capacity", "-") in set(RunJudgement(None, {"mine": (judged,)}).rows())


def test_the_report_names_every_wrong_decision_with_its_witness() -> None:
    """Table, JSON and lines hold the same verdict."""
    lab = HandMade()
    guest = lab.domain(1000, 16000)
    refuse(lab, lab.free - 500)
    lab.grow(guest, 600)
    run = RunJudgement(100.0, {"mine": (lab.judge(100.0),)})
    (line,) = run.witnesses()
    assert (
        line.startswith("hand-made: order 1: fitted at first: ")
        and f"domain {guest.domid} (operation" in line
    )
    assert ("refused, fitted at first only", "1") in set(run.rows())
    assert run.as_json()["schemes"]["mine"]["fitted_at_first"] == 1
    assert flat(run.figures()["mine"])["fitted"] == 1.0
    assert "| fitted at the decision | 1 |" in run.markdown()
