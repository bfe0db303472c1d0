"""A schedule in print: who moves and for how long, `a3.b.a2` say.

`a` is the first party, `b` the second. A number is how many moves in a row; a party that could do several
things at that moment does the first, with a `+` the second, and so on. What is not written is the rule:
whoever moved last goes on as long as he can, then the next party in the row. A token that cannot be obeyed,
because its party has nothing to do, is passed over and told of (`Replay.untaken`): shrinking tries such
schedules, a user who asks for one is told. A schedule of which whole acts were left out names those that
remain: `a1.b1.b3/a3.b.a2`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from launch.errors import UsageError
from launch.explore.moves import Move

Turn = tuple[int, int]
"""(party, which of its moves)."""
Turns = tuple[Turn, ...]
Kept = frozenset[tuple[int, int]]
"""The acts that are done, as (party, act), counted from 0."""

_TOKEN: Final = re.compile(r"([a-zA-Z])(\+*)(\d*)\Z")
LETTERS: Final = string.ascii_lowercase + string.ascii_uppercase
"""Of the parties, so there are 52 at most."""
MOST_TURNS: Final = 100_000


def written(turns: Sequence[Turn], kept: Kept | None = None) -> str:
    """The schedule as text; "-" for no turns."""
    tokens: list[str] = []
    for (party, nth), group in groupby(turns):
        count = len(list(group))
        tokens.append(_letter(party) + "+" * nth + (str(count) if count > 1 else ""))
    acts = "" if kept is None else ".".join(f"{_letter(party)}{act + 1}" for party, act in sorted(kept)) + "/"
    return acts + (".".join(tokens) or "-")


def _letter(party: int) -> str:
    return LETTERS[party]


def read(text: str) -> tuple[Turns, Kept | None]:
    """The other way. Raises UsageError."""
    acts, slash, turns = text.strip().rpartition("/")
    kept = frozenset((party, number - 1) for party, _, number in _tokens(acts or "-")) if slash else None
    return tuple(turn for party, nth, count in _tokens(turns) for turn in [(party, nth)] * count), kept


def _tokens(text: str) -> Iterator[tuple[int, int, int]]:
    for token in text.split(".") if text != "-" else ():
        match = _TOKEN.match(token)
        count = int(match[3] or 1) if match else 0
        if match is None or not 0 < count <= MOST_TURNS:
            raise UsageError(
                f"--schedule: {token!r} is no turn: write a party's letter and how many moves, a3.b.a2 say, "
                "or - for none"
            )
        yield LETTERS.index(match[1]), len(match[2]), count


class Replay:
    """Chooses by a schedule, then by the rule."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = list(reversed(turns))
        self._given = len(turns)
        self._last = 0
        self.followed: list[Turn] = []
        """For each move, what the rule would have chosen."""
        self.untaken: list[int] = []
        """Which of the turns could not be obeyed, from 0."""

    def __call__(self, moves: Sequence[Move]) -> Move:
        """The move whose turn it is."""
        ruled = by_the_rule(moves, self._last)
        self.followed.append((ruled.party, ruled.nth))
        move = self._asked_for(moves) or ruled
        self._last = move.party
        return move

    def _asked_for(self, moves: Sequence[Move]) -> Move | None:
        while self._turns:
            party, nth = self._turns.pop()
            of_party = [move for move in moves if move.party == party]
            if nth >= len(of_party):
                self.untaken.append(self._given - len(self._turns) - 1)
            if of_party:
                return of_party[min(nth, len(of_party) - 1)]
        return None

    @property
    def left(self) -> int:
        """Turns that were not asked for: all had ended, or somebody looked no further."""
        return len(self._turns)


def by_the_rule(moves: Sequence[Move], last: int) -> Move:
    """Whoever moved last goes on, then the next in the row."""
    later = [move for move in moves if move.party >= last]
    return later[0] if later else moves[0]


def turns_of(moves: Sequence[Move]) -> Turns:
    """The schedule of moves that were made."""
    return tuple((move.party, move.nth) for move in moves)


def without_the_rule(turns: Turns, followed: Sequence[Turn]) -> Turns:
    """As few turns as say the same: a tail that the rule would choose anyway is left off.

    `followed[i]` is what the rule would have chosen instead of `turns[i]`.
    """
    end = len(turns)
    while end and turns[end - 1] == followed[end - 1]:
        end -= 1
    return turns[:end]
