"""Which operations the judge's witnesses speak of, known before the journal is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hypervisor.public.units import Commit
from launch.judge.cases import Key
from launch.judge.verdict import Cause, GuestJudgement, HostJudgement, Judgement, LaunchJudgement, Refused

WRONG = (Judgement.FALSE_GRANT, Judgement.OVERTAKEN, Judgement.FALSE_REFUSAL, Judgement.FITTED_AT_FIRST)


@dataclass(frozen=True, slots=True)
class Span:
    """Commits in which operations of the control domain and of the movers are collected, a few of each."""

    launch: int
    first: Commit
    last: Commit
    movers: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Operations by number, by one of their commits, and by where they stand."""

    operations: frozenset[int]
    commits: frozenset[Commit]
    spans: tuple[Span, ...]


def wanted(judgement: HostJudgement) -> Wanted:
    """Everything that its witnesses name."""
    operations: set[int] = set()
    commits: set[Commit] = set()
    spans: list[Span] = []
    for launch in judgement.launches:
        if not is_witness(launch):
            continue
        numbers, places = _named(launch)
        operations |= numbers
        commits |= places
        spans += _spans(launch)
    for _, refused in refused_while_free(judgement.guests):
        operations.add(refused.operation)
        commits.add(refused.commit)
    return Wanted(frozenset(operations), frozenset(commits), tuple(spans))


def is_witness(launch: LaunchJudgement) -> bool:
    """A wrong decision, a late failure, or a decision in whose window guests moved."""
    moved = launch.window is not None and launch.window.witness is not None
    return moved or launch.failure is not None or launch.judgement in WRONG


def refused_while_free(guests: Iterable[GuestJudgement]) -> Iterable[tuple[GuestJudgement, Refused]]:
    """Refusals that somebody's action caused; a domain that met its own maximum is no witness."""
    for guest in guests:
        for one in guest.refused:
            if one.times_while_free and one.cause is not Cause.OWN_MAXIMUM:
                yield guest, one


def _named(launch: LaunchJudgement) -> tuple[set[int], set[Commit]]:
    operations: set[int] = set()
    commits: set[Commit] = set()
    fit, window, failure = launch.fit, launch.window, launch.failure
    if fit is not None and fit.tightest is not None:
        operations.add(fit.tightest.operation)
        commits.add(fit.tightest.commit)
    if window is not None:
        commits |= {window.sampled, window.decided}
        if window.witness is not None:
            operations |= {window.witness.first_operation, window.witness.last_operation}
    if failure is not None:
        commits.add(failure.commit)
        for taker in failure.takers:
            operations |= {taker.first_operation, taker.last_operation}
    return operations, commits - {0}


def _spans(launch: LaunchJudgement) -> Iterable[Span]:
    window = launch.window
    if window is None:
        return
    movers = () if window.witness is None else ((window.witness.domid, window.witness.incarnation),)
    yield Span(launch.order, window.sampled, window.decided, frozenset(movers))
