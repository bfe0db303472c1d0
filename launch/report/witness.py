"""The judge's witnesses, each with the operations that its diagram shows and the part that each one plays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from hypervisor.public.units import Commit, DomId
from launch.cluster.orders import launch_name
from launch.judge.report import guest_lines, guest_name, launch_lines
from launch.judge.verdict import GuestJudgement, HostJudgement, Judgement, LaunchJudgement, Refused
from launch.report.story import HostStory, Move
from launch.report.wanted import WRONG, is_witness, refused_while_free


class Role(StrEnum):
    """What an operation has to do with the witness. The first that fits counts."""

    STALE_READ = "stale read"
    OVERTAKING = "overtaking write"
    REFUSED = "refused"
    CAUSE = "cause"
    DECISION = "last check"
    SAMPLE = "first sample"  # a reading that nobody overtook before it had served
    GRANT = "grant to others"
    WRITE = "write"
    OTHER = "meanwhile"


LATE_FAILURE = "late failure"
MOVED = "moved in the window"
REFUSED_WHILE_FREE = "refused while free"


@dataclass(frozen=True, slots=True)
class Witness:
    """One of them."""

    kinds: tuple[str, ...]
    """What the page filters by."""
    host: str
    launch: int | None
    guests: tuple[DomId, ...]
    title: str
    lines: tuple[str, ...]
    """As `claimlab judge` prints them."""
    moves: tuple[tuple[Move, Role], ...]
    """In the order of their first commits."""
    stale: Commit = 0
    """The reading that the decision rests on; 0 when unknown."""
    overtaken: Commit = 0
    """From when it was out of date, as far as the witness tells; 0: it was not."""
    until: Commit = 0
    """Until when the toolstack went by it: its last check, or the build's refusal; 0: to the end."""


def witnesses(judgement: HostJudgement, story: HostStory) -> Iterator[Witness]:
    """Of one host: its launches', then its guests'."""
    for launch in judgement.launches:
        if is_witness(launch):
            yield _of_launch(judgement.name, launch, story.moves)
    for guest, refused in refused_while_free(judgement.guests):
        yield _of_guest(judgement.name, guest, refused, story.moves)


def _of_launch(host: str, launch: LaunchJudgement, moves: Mapping[int, Move]) -> Witness:
    roles = dict(_roles(launch, moves))
    for number in _between(launch, moves):
        roles.setdefault(number, Role.OTHER)
    shown = [(moves[number], role) for number, role in roles.items()]
    shown.sort(key=lambda one: one[0].first)
    window = launch.window
    guests = {move.caller[0] for move, _ in shown if move.caller[0]}
    stale = 0 if window is None else window.sampled
    return Witness(
        kinds=tuple(_kinds(launch)),
        host=host,
        launch=launch.order,
        guests=tuple(sorted(guests)),
        title=f"launch {launch_name(launch.order)} ({launch.pages:,} pages): {', '.join(_kinds(launch))}",
        lines=tuple(launch_lines(launch)),
        moves=tuple(shown),
        stale=stale,
        overtaken=_overtaken(launch),
        until=_until(launch),
    )


def _kinds(launch: LaunchJudgement) -> Iterator[str]:
    if launch.judgement in WRONG:
        yield launch.judgement.value
    if launch.failure is not None:
        yield LATE_FAILURE
    if launch.window is not None and launch.window.witness is not None:
        yield MOVED


def _overtaken(launch: LaunchJudgement) -> Commit:
    fit, window = launch.fit, launch.window
    if window is not None and window.witness is not None:
        return window.witness.first_commit
    if fit is not None and fit.tightest is not None and launch.judgement is Judgement.OVERTAKEN:
        return fit.tightest.commit
    return 0


def _until(launch: LaunchJudgement) -> Commit:
    if launch.judgement is Judgement.OVERTAKEN and launch.failure is None:
        return 0  # it was lucky
    decided = 0 if launch.window is None else launch.window.decided
    return max(decided, 0 if launch.failure is None else launch.failure.commit)


def _roles(launch: LaunchJudgement, moves: Mapping[int, Move]) -> Iterator[tuple[int, Role]]:
    """Weakest first: what is said again later counts."""
    fit, window, failure = launch.fit, launch.window, launch.failure
    for taker in () if failure is None else failure.takers:
        for number in (taker.first_operation, taker.last_operation):
            yield from _there(number, Role.WRITE, moves)
    if fit is not None and fit.tightest is not None:
        overtaking = launch.judgement is Judgement.OVERTAKEN
        yield from _there(fit.tightest.operation, Role.OVERTAKING if overtaking else Role.GRANT, moves)
    if window is not None:
        yield from _at(window.decided, Role.DECISION, moves)
        stale = window.witness is not None or launch.judgement is Judgement.OVERTAKEN
        yield from _at(window.sampled, Role.STALE_READ if stale else Role.SAMPLE, moves)
        if window.witness is not None:
            for number in (window.witness.first_operation, window.witness.last_operation):
                yield from _there(number, Role.OVERTAKING, moves)
    if failure is not None:
        yield from _at(failure.commit, Role.REFUSED, moves)


def _there(number: int, role: Role, moves: Mapping[int, Move]) -> Iterator[tuple[int, Role]]:
    if number in moves:
        yield number, role


def _at(commit: Commit, role: Role, moves: Mapping[int, Move]) -> Iterator[tuple[int, Role]]:
    """The operation that did the step with that commit."""
    for number, move in moves.items():
        if commit and commit in move.marks:
            yield number, role


def _between(launch: LaunchJudgement, moves: Mapping[int, Move]) -> Iterator[int]:
    """What the toolstack that decided, and whoever moved most, did in the window."""
    window = launch.window
    if window is None:
        return
    deciders = {move.caller for move in moves.values() if window.decided in move.marks}
    if window.witness is not None:
        deciders.add((window.witness.domid, window.witness.incarnation))
    for number, move in moves.items():
        if move.caller in deciders and window.sampled <= move.first and move.last <= window.decided:
            yield number


def _of_guest(host: str, guest: GuestJudgement, refused: Refused, moves: Mapping[int, Move]) -> Witness:
    move = moves.get(refused.operation)
    shown: list[tuple[Move, Role]] = []
    if move is not None:
        shown = [(moves[number], Role.CAUSE) for number in move.because if number in moves]
        shown.append((move, Role.REFUSED))
    shown.sort(key=lambda one: one[0].first)
    whose = guest_name(guest)
    start = f" by {refused.cause} while memory was free"
    return Witness(
        kinds=(REFUSED_WHILE_FREE, f"refused by {refused.cause}"),
        host=host,
        launch=guest.launch,
        guests=(guest.domid,),
        title=f"{whose}: {refused.pages_while_free:,} pages refused by {refused.cause} while free",
        lines=tuple(line for line in guest_lines(guest) if line.startswith(f"refused{start}")),
        moves=tuple(shown),
    )
