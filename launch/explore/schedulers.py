"""Who moves next: at random, by priorities (PCT), or as a schedule says. exhaustive.py has one more."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, Protocol

from launch.explore.execution import Choose
from launch.explore.moves import Move
from launch.explore.schedule import Replay, Turns

FIRST_GUESS: Final = 64
"""Moves of a schedule before PCT has seen one."""


class RedundantError(Exception):
    """What follows would only repeat, in another order of commuting moves, what has been tried."""


class Scheduler(Protocol):
    """Gives one chooser for every schedule."""

    def begin(self) -> Choose | None:
        """The next schedule's chooser; None when there is none left to try. May raise `RedundantError`."""
        ...

    def ended(self, moves: Sequence[Move]) -> None:
        """The schedule was run: these moves were made."""
        ...


class RandomScheduler:
    """Every possible move is as likely as any other."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._number = 0

    def begin(self) -> Choose:
        """A stream of its own for every schedule."""
        rng = random.Random(f"{self._seed}/{self._number}")
        self._number += 1
        return rng.choice

    def ended(self, moves: Sequence[Move]) -> None:
        """Nothing is learnt."""


class PctScheduler:
    """Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010).

    Parties get random priorities, the highest that can moves; at depth - 1 places drawn beforehand whoever
    moves falls below all others. A bug that needs `depth` ordered moves among n parties is found in a
    schedule of k moves with a probability of at least 1 / (n * k^(depth - 1)).
    """

    def __init__(self, seed: int, depth: int) -> None:
        self._seed = seed
        self._depth = depth
        self._number = 0
        self.longest = 0
        """Most moves that a schedule took so far: k."""

    def begin(self) -> Choose:
        """New priorities and places."""
        rng = random.Random(f"{self._seed}/{self._number}")
        self._number += 1
        return _Priorities(rng, self._depth, self.longest or FIRST_GUESS)

    def ended(self, moves: Sequence[Move]) -> None:
        """Learn how long a schedule is."""
        self.longest = max(self.longest, len(moves))


class _Priorities:
    """One schedule of PCT."""

    def __init__(self, rng: random.Random, depth: int, length: int) -> None:
        self._rng = rng
        self._places = {rng.randrange(length): fall for fall in range(1, depth)}
        self._priorities: dict[int, float] = {}
        self._moves = 0

    def __call__(self, moves: Sequence[Move]) -> Move:
        for move in moves:
            if move.party not in self._priorities:
                self._priorities[move.party] = self._rng.random()
        party = max((move.party for move in moves), key=lambda one: self._priorities[one])
        fall = self._places.get(self._moves)
        if fall is not None:
            self._priorities[party] = -fall
            party = max((move.party for move in moves), key=lambda one: self._priorities[one])
        self._moves += 1
        of_party = [move for move in moves if move.party == party]
        return of_party[0] if len(of_party) == 1 else self._rng.choice(of_party)


class ReplayScheduler:
    """One schedule, once."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.replay: Replay | None = None
        """Once begun, how far it has come."""

    def begin(self) -> Choose | None:
        """The schedule, the first time."""
        if self.replay is not None:
            return None
        self.replay = Replay(self.turns)
        return self.replay

    def ended(self, moves: Sequence[Move]) -> None:
        """Nothing is learnt."""
