"""Every schedule that matters, once: depth-first search with source sets and sleep sets.

Flanagan and Godefroid (POPL 2005) look at each pair of moves that do not commute and try the other order;
Abdulla, Aronis, Jonsson and Sagonas (POPL 2014, "Optimal dynamic partial order reduction") add to a
backtrack set only what no member of it begins already, which makes it a source set. Sleep sets (Godefroid
1996) keep an order from being tried twice. So of all schedules that differ only in the order of moves
that commute one is run to its end, and a few more are given up on the way.

A move that takes a lock keeps others from moving although they commute with it otherwise; what it stops is
put into the backtrack set of the state before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from launch.explore.execution import Choose
from launch.explore.footprint import Footprint, commute
from launch.explore.moves import Identity, Move
from launch.explore.schedulers import RedundantError


class _State:
    """One state of the path: who could move there, what is to be tried, what need not be."""

    __slots__ = ("backtrack", "chosen", "clock", "enabled", "enabled_by", "order", "sleep")

    def __init__(
        self,
        enabled: dict[Identity, Footprint],
        sleep: dict[Identity, Footprint],
        enabled_by: dict[Identity, int],
    ) -> None:
        self.enabled = enabled
        self.sleep = sleep
        """What begins only schedules that were tried."""
        self.enabled_by = enabled_by
        """After which move each came to be possible, -1 from the start."""
        self.order: list[Identity] = []
        self.backtrack: set[Identity] = set()
        self.chosen: Identity = (-1, 0)
        self.clock = 0
        """Bits of the moves that the chosen one comes after in every equivalent schedule, itself included."""

    def want(self, identity: Identity) -> None:
        """Try it some time."""
        if identity not in self.backtrack:
            self.backtrack.add(identity)
            self.order.append(identity)

    def next(self) -> Identity | None:
        """What is left to be tried."""
        return next((one for one in self.order if one not in self.sleep), None)


def depend(one: Identity, touched: Footprint, other: Identity, other_touched: Footprint) -> bool:
    """True for two moves of which the order can matter."""
    return one[0] == other[0] or not commute(touched, other_touched)


class ExhaustiveScheduler:
    """A `Scheduler` that comes to an end."""

    def __init__(self) -> None:
        self._path: list[_State] = []
        self._place = 0
        self._begun = False
        self.redundant = 0
        """Schedules given up on the way."""

    def begin(self) -> Choose | None:
        """Go back to the last state with something left to try."""
        if self._begun and not self._back_up():
            return None
        self._begun = True
        self._place = 0
        return self._choose

    def ended(self, moves: Sequence[Move]) -> None:
        """Look for races of the last move; the others had theirs looked for on the way."""
        if self._path and self._place == len(self._path):
            self._look_for_races(len(self._path) - 1, None)

    def _back_up(self) -> bool:
        while self._path:
            state = self._path[-1]
            if state.chosen in state.enabled:
                state.sleep[state.chosen] = state.enabled[state.chosen]
            following = state.next()
            if following is not None:
                state.chosen = following
                return True
            self._path.pop()
        return False

    def _choose(self, moves: Sequence[Move]) -> Move:
        place = self._place
        by_identity = {move.identity: move for move in moves}
        if place == len(self._path):
            self._extend(moves)
        self._place += 1
        return by_identity[self._path[place].chosen]

    def _extend(self, moves: Sequence[Move]) -> None:
        """A state never seen before."""
        place = len(self._path)
        enabled = {move.identity: move.footprint for move in moves}
        last_party = 0
        if not place:
            state = _State(enabled, {}, dict.fromkeys(enabled, -1))
        else:
            self._look_for_races(place - 1, enabled)
            before = self._path[-1]
            footprint = before.enabled[before.chosen]
            last_party = before.chosen[0]
            sleep = {
                identity: asleep
                for identity, asleep in before.sleep.items()
                if not depend(identity, asleep, before.chosen, footprint)
            }
            since = {one: before.enabled_by.get(one, place - 1) for one in enabled}
            state = _State(enabled, sleep, since)
        awake = [one for one in enabled if one not in state.sleep]
        if not awake:
            self.redundant += 1
            raise RedundantError
        first = next((one for one in awake if one[0] == last_party), awake[0])
        state.want(first)
        state.chosen = first
        self._path.append(state)

    # ---- races

    def _look_for_races(self, index: int, after: dict[Identity, Footprint] | None) -> None:
        """What the move made in state `index` could have come before; `after`: who can move now."""
        path = self._path
        state = path[index]
        identity = state.chosen
        footprint = state.enabled[identity]
        enabled_by = state.enabled_by[identity]
        clock = 1 << index
        if enabled_by >= 0:
            clock |= path[enabled_by].clock
        for earlier in range(index - 1, -1, -1):
            other = path[earlier]
            if clock >> earlier & 1:
                continue
            if depend(other.chosen, other.enabled[other.chosen], identity, footprint):
                # A party's own moves depend on each other, and still an event may come before a timer.
                if other.chosen != identity and earlier != enabled_by:
                    self._reverse(earlier, index, clock)
                clock |= other.clock
        state.clock = clock
        if after is not None:
            for stopped in state.enabled:
                if stopped != identity and stopped not in after:
                    state.want(stopped)

    def _reverse(self, earlier: int, index: int, clock: int) -> None:
        """Let the move of state `index` be tried before that of `earlier`, unless that is certain already."""
        path = self._path
        state = path[earlier]
        inside = 0
        initials: list[Identity] = []
        for place in range(earlier + 1, index + 1):
            happens_after = path[place].clock if place < index else clock
            if happens_after >> earlier & 1:
                continue
            if not happens_after & inside:
                initials.append(path[place].chosen)
            inside |= 1 << place
        if any(one in state.backtrack for one in initials):
            return
        possible = [one for one in initials if one in state.enabled]
        for one in possible[:1] or list(state.enabled):
            state.want(one)
