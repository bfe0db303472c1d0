"""Would the launch have fitted: at the decision, and throughout the build that it asked for?

At the decision: the pages that it had still to take are no more than what was free and unclaimed.

Throughout: had a claim for these pages been in place from the decision on, nothing that was granted
meanwhile would have been refused. As long as nothing is refused, the claim changes no other number of the
host, so the journal need not be run a second time: a grant of n pages to somebody else passes the test of
C17 or C14 if and only if the room that it leaves is no less than what the launch has still to take. The
first that does not pass is the witness; what would have come after it nobody knows.

Promised: the claim ends with the median build, the pages of a launch that was built do not. So a refused
launch that fitted throughout is looked at further: if the first grant that its pages, kept until its lifetime
was over, would have refused is to a build that had been admitted before the decision, then the room had been
promised to that build, by the toolstack where no claim says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from hypervisor.core.claims import available_pages
from hypervisor.core.domain import Domain
from hypervisor.core.host import Host
from hypervisor.public.units import Commit, Pages, Seconds
from launch.judge.cases import Case, Key, whole_need
from launch.judge.ledger import Change
from launch.judge.verdict import Fit, Grant
from launch.launches import ADMITTED, Verdict

FOREVER: Final[Seconds] = float("inf")
NEVER: Final[Commit] = 1 << 62


@dataclass(slots=True)
class _Claim:
    """The claim that one launch might have had."""

    case: Case
    need: Pages
    """From an empty start, pages."""
    until: Seconds
    promised: Mapping[Key, Commit]
    """Builds under way at a refusal, and the commits with which they end."""
    in_flight: Pages = 0
    """Taken for the launch's own domain and not assigned yet."""
    margin: int | None = None
    """Least room that a grant to somebody else left above the claim; None before the first."""
    witness: Change | None = None
    broken: Change | None = None
    """A grant to one of the promised builds that the pages, kept, would have refused."""
    open: bool = True

    def keep(self) -> bool:
        """The median build is over: whether to ask what its pages, kept, would do to promised builds."""
        lifetime = self.case.order.lifetime
        self.until = FOREVER if lifetime is None else self.until + lifetime
        return bool(self.promised)


class Fits:
    """Told of every change; answers for every launch that was decided."""

    def __init__(self, cases: Iterable[Case], host: Host, build_time: Seconds | None) -> None:
        """`build_time` None holds every claim to the end of the journal."""
        self._host = host
        self._build_time = FOREVER if build_time is None else build_time
        self._decisions: dict[Commit, list[Case]] = {}
        self._cases = tuple(cases)
        for case in self._cases:
            if case.decided:
                self._decisions.setdefault(case.decided, []).append(case)
        self._at_decision: dict[int, Fit] = {}
        self._claims: dict[int, _Claim] = {}
        self._open: list[_Claim] = []
        self._kept: list[_Claim] = []
        """Those whose median build is over."""
        self._first_end = FOREVER

    def decided(self, commit: Commit) -> None:
        """The step with that commit is done, and what it changed has been told."""
        if commit in self._decisions:
            for case in self._decisions.pop(commit):
                self._decide(case)

    def changed(self, change: Change) -> None:
        """A step moved pages or room."""
        ended = False
        for claim in self._open:
            own = claim.case.domain is not None and change.subject == claim.case.domain[0]
            if own and self._own_domain(claim.case) is not None:
                self._follow(claim, change)
            elif change.taken and not change.leaned:
                self._test(claim, change)
            ended = ended or not claim.open
        if ended:
            self._open = [claim for claim in self._open if claim.open]
        if self._kept and change.taken and not change.leaned:
            self._test_kept(change)

    def clock(self, now: Seconds) -> None:
        """What is told from here on was done by `now`."""
        if now >= self._first_end:
            over = [claim for claim in self._open if claim.until <= now]
            self._open = [claim for claim in self._open if claim.until > now]
            self._kept = [claim for claim in self._kept if claim.until > now]
            self._kept += [claim for claim in over if claim.keep() and claim.until > now]
            ends = (claim.until for claim in (*self._open, *self._kept))
            self._first_end = min(ends, default=FOREVER)

    def fits(self) -> Mapping[int, Fit]:
        """By order number; launches without a decision in the journal are not in it."""
        return {number: self._with_margin(number, fit) for number, fit in self._at_decision.items()}

    # ---- one launch

    def _decide(self, case: Case) -> None:
        host = self._host
        need = whole_need(case.order, host.release)
        domain = self._own_domain(case)
        held, own_claim = (0, 0) if domain is None else (_held(domain), domain.outstanding_pages)
        free, claims = available_pages(host), host.outstanding_claims - own_claim
        needed = max(need - held, 0)
        self._at_decision[case.number] = Fit(
            free=free, claims=claims, needed=needed, at_decision=needed <= free - claims
        )
        if case.verdict is Verdict.UNSETTLED and case.domain is None:
            return  # which of the takes that follow are its own cannot be told
        # A build that was tried says itself how long it needed its claim.
        until = FOREVER if case.ended else case.decided_at + self._build_time
        claim = _Claim(case, need, until, self._promised(case))
        self._claims[case.number] = claim
        self._open.append(claim)
        self._first_end = min(self._first_end, claim.until)

    def _promised(self, case: Case) -> Mapping[Key, Commit]:
        """Builds that were under way when it was refused; those of which no end is told end never."""
        if case.verdict is not Verdict.REFUSED:
            return {}
        return {
            one.domain: one.ended or NEVER
            for one in self._cases
            if one.domain is not None
            and one.verdict in ADMITTED
            and 0 < one.decided <= case.decided < (one.ended or NEVER)
        }

    def _own_domain(self, case: Case) -> Domain | None:
        if case.domain is None:
            return None
        domain = self._host.find(case.domain[0])
        return domain if domain is not None and domain.incarnation == case.domain[1] else None

    def _follow(self, claim: _Claim, change: Change) -> None:
        """The launch's own operations draw the claim down, and end it."""
        if change.name == "take":
            claim.in_flight += change.taken
        elif change.name == "assign":
            claim.in_flight -= sum(delta for _, delta in change.moved)
        elif change.name == "give back":
            claim.in_flight = 0
        if claim.case.ended and change.commit >= claim.case.ended:
            claim.open = False

    def _test(self, claim: _Claim, change: Change) -> None:
        if claim.case.ended and change.commit > claim.case.ended:
            claim.open = False
            return
        domain = self._own_domain(claim.case)
        held, own_claim = (0, 0) if domain is None else (_held(domain), domain.outstanding_pages)
        rest = claim.need - held - claim.in_flight
        if rest <= 0:
            return
        margin = change.room + own_claim - rest
        if claim.margin is None or margin < claim.margin:
            claim.margin, claim.witness = margin, change
            claim.open = margin >= 0  # from the first refusal on the two histories would differ

    def _test_kept(self, change: Change) -> None:
        for claim in self._kept:
            if change.commit > max(claim.promised.values()):
                claim.open = False
            elif change.room < claim.need:
                domain = self._host.find(change.subject)
                key = (change.subject, -1 if domain is None else domain.incarnation)
                if change.commit <= claim.promised.get(key, 0):
                    claim.broken = change
                claim.open = False
        self._kept = [claim for claim in self._kept if claim.open]

    def _with_margin(self, number: int, fit: Fit) -> Fit:
        claim = self._claims.get(number)
        if claim is None:
            return fit
        held = fit.at_decision and (claim.margin is None or claim.margin >= 0)
        change = claim.witness
        grant = None if change is None else _grant(change)
        promised = None if claim.broken is None else _grant(claim.broken)
        return replace(fit, throughout=held, margin=claim.margin, tightest=grant, promised=promised)


def _held(domain: Domain) -> Pages:
    return domain.tot_pages + domain.xen_pages


def _grant(change: Change) -> Grant:
    return Grant(change.subject, change.one.operation.number, change.commit, change.taken)
