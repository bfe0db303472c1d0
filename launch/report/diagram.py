"""A witness as a space-time diagram: time runs down, a lane for each party, an arrow for each message.

Rows are commits, as far apart as text needs: the order is true, the distance is not. When a call was made and
when its answer arrived is not drawn to scale either: a call's arrow ends at its first commit, the answer's
begins at its last, and between a caller's two ends it knows nothing newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hypervisor.public.units import Commit, DomId
from launch.report.story import Move
from launch.report.witness import Role, Witness

ROW: Final = 40
GAP: Final = 16
"""More distance, pixels, where commits that are not shown lie between two rows."""
TOP: Final = 66
LANE: Final = 112
SLOPE: Final = 17
"""Pixels by which an arrow falls on its way."""
LEFT: Final = 70
MOST: Final = 24
"""Operations that a diagram shows at most; those that only ran meanwhile go first."""
TEXT: Final = 600
SHORT: Final = 88
"""Letters of a row's text; hovering shows all."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One party."""

    x: int
    label: str
    kind: str
    """toolstack, hypervisor or guest."""
    build: str = ""
    """What a toolstack does on this lane when it is another build than the witness's."""

    @property
    def name(self) -> str:
        """In one line."""
        return f"{self.label}, {self.build}" if self.build else self.label


@dataclass(frozen=True, slots=True)
class Arrow:
    """A call on its way to its first commit, or an answer on its way back."""

    x1: int
    y1: int
    x2: int
    y2: int
    role: Role
    operation: int
    kind: str
    """call or answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One commit."""

    y: int
    commit: Commit
    time: str
    head: str
    text: str
    role: Role
    operation: int
    full: str
    skipped: int
    """Commits between the row before and this one."""


@dataclass(frozen=True, slots=True)
class Belief:
    """How long a toolstack went by what it had read."""

    x: int
    y1: int
    y2: int
    overtaken: int | None
    """Where, on the same scale, it was out of date."""


@dataclass(frozen=True, slots=True)
class Diagram:
    """Ready to be drawn; everything in pixels."""

    width: int
    height: int
    hypervisor: int
    text: int
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    arrows: tuple[Arrow, ...]
    belief: Belief | None


def diagram(witness: Witness, toolstacks: Sequence[int]) -> Diagram | None:
    """None when no operation of it is known. `toolstacks`: incarnations of dom0's callers, in order."""
    moves = _fewer(witness.moves)
    if not moves:
        return None
    lanes = _lanes(moves, toolstacks)
    hypervisor = next(lane.x for lane in lanes.values() if lane.kind == "hypervisor")
    commits = _commits(moves)
    places = _places([commit for commit, _, _ in commits])
    text = max(lane.x for lane in lanes.values()) + LANE // 2 + 16
    return Diagram(
        width=text + TEXT,
        height=max(places.values()) + ROW,
        hypervisor=hypervisor,
        text=text,
        lanes=tuple(lanes.values()),
        rows=tuple(_rows(commits, places, lanes)),
        arrows=tuple(arrow for one in moves for arrow in _arrows(*one, lanes, hypervisor, places)),
        belief=_belief(witness, moves, lanes, places),
    )


def _fewer(moves: Sequence[tuple[Move, Role]]) -> Sequence[tuple[Move, Role]]:
    named = [one for one in moves if one[1] is not Role.OTHER]
    others = [one for one in moves if one[1] is Role.OTHER][: max(MOST - len(named), 0)]
    return sorted([*named[:MOST], *others], key=lambda one: one[0].first)


Party = tuple[DomId, int, DomId]
"""(domid, incarnation) of a caller, and the domain that a toolstack builds if it is not the witness's own."""
_HYPERVISOR: Final[Party] = (-1, -1, 0)
_OWN: Final = (Role.STALE_READ, Role.SAMPLE, Role.DECISION, Role.REFUSED, Role.CAUSE, Role.OTHER)


def party(move: Move, role: Role) -> Party:
    """Whose lane it is. A toolstack builds several domains at once, and they race each other."""
    domid, incarnation = move.caller
    other = domid == 0 and role not in _OWN and move.subject > 0
    return (domid, incarnation, move.subject if other else 0)


def _lanes(moves: Iterable[tuple[Move, Role]], toolstacks: Sequence[int]) -> dict[Party, Lane]:
    """Toolstacks, the hypervisor, guests: from left to right."""
    parties = {party(move, role) for move, role in moves}
    control = sorted(one for one in parties if one[0] == 0)
    guests = sorted(one for one in parties if one[0] != 0)
    lanes: dict[Party, Lane] = {}
    for one in [*control, _HYPERVISOR, *guests]:
        x = LEFT + len(lanes) * LANE
        domid, incarnation, build = one
        if one is _HYPERVISOR:
            lanes[one] = Lane(x, "hypervisor", "hypervisor")
        elif domid == 0:
            number = toolstacks.index(incarnation) + 1 if incarnation in toolstacks else incarnation
            whose = f"toolstack {number}" if len(toolstacks) > 1 else "toolstack"
            lanes[one] = Lane(x, whose, "toolstack", f"for domain {build}" if build else "")
        else:
            lanes[one] = Lane(x, f"domain {domid}", "guest")
    return lanes


def _commits(moves: Iterable[tuple[Move, Role]]) -> list[tuple[Commit, Move, Role]]:
    found = {
        (commit, move.number): (commit, move, role)
        for move, role in moves
        for commit in (move.first, *move.marks, move.last)
        if commit
    }
    return [found[key] for key in sorted(found)]


def _places(commits: Sequence[Commit]) -> dict[Commit, int]:
    places: dict[Commit, int] = {}
    y, before = TOP - ROW, 0
    for commit in commits:
        y += ROW + (GAP if before and commit > before + 1 else 0)
        places[commit], before = y, commit
    return places


def _rows(
    commits: Sequence[tuple[Commit, Move, Role]], places: dict[Commit, int], lanes: dict[Party, Lane]
) -> Iterable[Row]:
    before: Commit = 0
    for commit, move, role in commits:
        whose = lanes[party(move, role)].name
        text = _said(commit, move, role)
        time = move.began if commit == move.first else move.ended if commit == move.last else None
        full = (
            f"{whose}, operation {move.number}: {move.text} \N{RIGHTWARDS ARROW} "
            f"{move.answer or 'no answer yet'}; commits {move.first} to {move.last}"
        )
        if move.refused:
            full += f"; refused: {move.refused}"
        yield Row(
            y=places[commit],
            commit=commit,
            time="" if time is None else f"{time:.3f} s",
            head=whose,
            text=text if len(text) <= SHORT else f"{text[: SHORT - 1]}\N{HORIZONTAL ELLIPSIS}",
            role=role,
            operation=move.number,
            full=full,
            skipped=commit - before - 1 if before else 0,
        )
        before = commit


def _said(commit: Commit, move: Move, role: Role) -> str:
    """What a step is of its operation."""
    answered = f"{move.answer}{f', refused: {move.refused}' if move.refused else ''}"
    if move.first == move.last:
        return f"{move.text} \N{RIGHTWARDS ARROW} {answered or 'goes on'}"
    if commit == move.first:
        return f"{move.text}: first step"
    if commit == move.last and move.answer:
        return f"{move.text}: last step \N{RIGHTWARDS ARROW} {answered}"
    here = f"refused here: {move.refused}" if move.refused and role is Role.REFUSED else "under way"
    return f"{move.text}: {here}"


def _arrows(
    move: Move, role: Role, lanes: dict[Party, Lane], hypervisor: int, places: dict[Commit, int]
) -> Iterable[Arrow]:
    x = lanes[party(move, role)].x
    first, last = places[move.first], places[move.last]
    yield Arrow(x, first - SLOPE, hypervisor, first, role, move.number, "call")
    if move.answer:
        yield Arrow(hypervisor, last, x, last + SLOPE, role, move.number, "answer")


def _belief(
    witness: Witness, moves: Sequence[tuple[Move, Role]], lanes: dict[Party, Lane], places: dict[Commit, int]
) -> Belief | None:
    stale = (one for one in moves if witness.stale and witness.stale in one[0].marks)
    read, role = next(stale, (None, Role.OTHER))
    if read is None or read.last not in places:
        return None
    end = places.get(witness.until, max(places.values()))
    overtaken = places.get(witness.overtaken)
    begin = places[read.last] + SLOPE
    return Belief(lanes[party(read, role)].x, begin, max(end, begin), overtaken)
