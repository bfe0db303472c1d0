"""What the judge says, as plain numbers: one document a host."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from hypervisor.public.units import Commit, DomId, Pages, Seconds


class Judgement(StrEnum):
    """Of one launch's decision."""

    GRANTED = "granted"  # rightly: it fitted, and nobody was granted what it still needed
    FALSE_GRANT = "false grant"  # admitted, although it did not fit at the decision
    OVERTAKEN = "overtaken"  # it fitted at the decision; then others were granted what it still needed
    REFUSED = "refused"  # rightly: it did not fit at the decision
    FITTED_AT_FIRST = "fitted at first"  # refused; it fitted, but others then took what it would have needed
    FALSE_REFUSAL = "false refusal"  # it fitted at the decision and throughout
    UNJUDGED = "unjudged"  # no decision, or none that names a commit


class Cause(StrEnum):
    """What stood against a domain's allocation, and so who is charged with it."""

    CLAIM = "claim"  # memory was there, and claimed by others
    CLAMP = "clamp"  # max_pages was below what the domain has had
    FREEZE = "freeze"  # its tmem was frozen
    MEDIATOR = "mediator"  # the toolstack in the middle said no
    OWN_MAXIMUM = "own maximum"  # max_pages, and nobody had lowered it
    EMPTY = "empty heap"
    FRAGMENTATION = "fragmentation"
    DYING = "dying"
    DEMAND = "demand"  # swap of a guest that was never refused anything


class Grant(Struct, frozen=True):
    """Memory, or a claim, that somebody was granted."""

    domid: DomId
    operation: int
    commit: Commit
    pages: Pages


class Fit(Struct, frozen=True):
    """A launch against the true state of the host; see `launch.judge.fit`."""

    free: Pages  # at the decision's commit, tmem's freeable pages included
    claims: int  # of others then
    needed: Pages  # by the launch then, still to be taken
    at_decision: bool
    throughout: bool | None = None  # None: cannot be told
    margin: int | None = None  # pages that the tightest grant to others left above what it needed
    tightest: Grant | None = None  # that grant, the first to be refused if negative; None when there was none
    promised: Grant | None = (
        None  # to a build admitted before: what would have been refused had it kept its pages
    )


class Mover(Struct, frozen=True):
    """A domain whose tot_pages changed, and the first and last operation that changed it."""

    domid: DomId
    incarnation: int
    up: Pages
    down: Pages
    first_operation: int
    first_commit: Commit
    last_operation: int
    last_commit: Commit


class Window(Struct, frozen=True):
    """Between a decision's first sample and its last check (TOCTOU)."""

    sampled: Commit
    decided: Commit
    seconds: Seconds | None  # emulated, to the resolution of the journal's clock; None without one
    guests_up: Pages  # tot_pages gained by domains' own operations
    guests_down: Pages
    others_up: Pages  # gained by operations of the control domain: other builds
    others_down: Pages
    witness: Mover | None  # of the domains that moved by themselves, the one that moved most


class Failure(Struct, frozen=True):
    """A launch that failed after it had been admitted."""

    page_seconds: float  # pages held times emulated seconds, from the first page to the last one given back
    cause: Cause | None  # why its last allocation was refused; None when none was
    commit: Commit  # of that refusal
    free: Pages  # on the free lists then
    takers: tuple[Mover, ...]  # who grew most since the decision


class LaunchJudgement(Struct, frozen=True):
    """One launch."""

    order: int
    pages: Pages
    outcome: str  # a `launch.launches.Verdict`
    judgement: Judgement
    reason: str = ""  # what the toolstack said
    fit: Fit | None = None
    window: Window | None = None
    failure: Failure | None = None


class Refused(Struct, frozen=True):
    """Allocations refused to one domain for one cause, and the first of them that met free memory."""

    cause: Cause
    times: int
    pages: Pages  # asked for and not got
    times_while_free: int  # the extent refused was no larger than what was free
    pages_while_free: Pages  # of these, at most what was free
    operation: int  # the first, one with free memory before one without
    commit: Commit
    free: Pages  # on the free lists then
    by: str  # whose action it was: "claim of domain 7 (launch 3): 393,184 pages", ...
    deficit: Pages = 0  # what its balloon was left without, the same pages asked for again counted once


class GuestJudgement(Struct, frozen=True):
    """One domain's pain."""

    domid: DomId
    incarnation: int
    launch: int | None  # the order that built it; None for a resident
    refused: tuple[Refused, ...]
    swapped: Pages = 0
    swapped_unrefused: Pages = 0  # of these, before its balloon was refused anything
    oom_kills: int = 0


class Marks(Struct, frozen=True):
    """What `static` books against what claims book, pages, dom0 left out; highest values of the run."""

    sum_of_maxes: Pages  # of all domains' lifetime maxima
    max_of_sums: Pages  # of all pages held or claimed
    domains: int
    capacity: Pages  # RAM less dom0's and Xen's own at boot


class HostJudgement(Struct, frozen=True):
    """One journal."""

    name: str
    release: str
    steps: int
    build_time: Seconds | None  # how long a claim was thought to be held; None: to the end
    launches: tuple[LaunchJudgement, ...]
    guests: tuple[GuestJudgement, ...]
    marks: Marks
    seconds: float = 0.0  # real, that judging took
