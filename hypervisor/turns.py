"""Whose turn it is: the requests under way, each given one atomic step in turn.

Whoever finds the lock that it needs next taken stands behind its holder, and is not asked again until it is
his. Nearly all requests of guests with tmem need the same one: asking everybody between any two steps cost
more than the steps.

The control domain has a line of its own, and a turn after `BETWEEN` steps of guests at the latest: with ten
thousand guests a build of a thousand extents would otherwise wait for as many rounds of all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from hypervisor.core.machine import Machine, Operation
from hypervisor.public.units import DOMID_DOM0
from hypervisor.session.speakers import RunningCall

Underway = tuple[Operation, RunningCall]
BETWEEN: Final = 16
"""Steps of guests between two turns of the control domain, and between two looks at what has arrived."""


class Turns:
    """The requests under way on one machine, in order of arrival."""

    def __init__(self, machine: Machine, step: Callable[[Operation, RunningCall], bool]) -> None:
        """`step` does an operation's next step, and says whether it was its last."""
        self._machine = machine
        self._step = step
        self._line: deque[Underway] = deque()
        self._control: deque[Underway] = deque()
        self._behind: dict[str, deque[Underway]] = {}
        """Who waits for a lock, by the lock; nobody does for one that is free."""

    def __iter__(self) -> Iterator[Underway]:
        """Everybody under way, those who wait for a lock last."""
        yield from self._control
        yield from self._line
        for waiting in self._behind.values():
            yield from waiting

    def join(self, operation: Operation, call: RunningCall) -> None:
        """A new one, at the end of its line."""
        self._line_of(operation).append((operation, call))

    def give_each(self) -> bool:
        """A step for everybody who can take one, or gets the lock for it meanwhile.

        Of many guests `BETWEEN`, the others in the next rounds. False when nobody could, or nobody is left.
        """
        moved = self._give(self._control, len(self._control))
        moved = self._give(self._line, BETWEEN) or moved
        return moved and bool(self._line or self._control)

    def _give(self, line: deque[Underway], most: int) -> bool:
        holders, behind, step = self._machine.lock_holders, self._behind, self._step
        moved = 0
        for _ in range(len(line)):
            if moved == most:
                break
            one = line.popleft()
            operation, call = one
            following = operation.pending
            if following is None or operation.parked or following.awaits is not None:
                moved += self._move(one)
                continue
            lock = following.lock
            if lock is not None and holders.get(lock, operation) is not operation:
                self._stand_behind(lock, one)
                continue
            # Nothing else holds it up (`Machine.is_runnable`), which is how it is with nearly everybody.
            moved += 1
            if not step(operation, call):
                line.append(one)
            if lock in behind:
                self._let_in(lock)
        return moved > 0

    def _line_of(self, operation: Operation) -> deque[Underway]:
        return self._control if operation.caller.domid == DOMID_DOM0 else self._line

    def _move(self, one: Underway) -> bool:
        """Its step, if it can take one now; then it stands at the end of its line again."""
        operation, call = one
        can = self._machine.is_runnable(operation)
        if not (self._step(operation, call) if can else operation.abandoned):
            self._line_of(operation).append(one)
        return can

    def _stand_behind(self, lock: str, one: Underway) -> None:
        waiting = self._behind.get(lock)
        if waiting is None:
            waiting = self._behind[lock] = deque()
        waiting.append(one)

    def _let_in(self, lock: str) -> None:
        """While the lock is free: a step for who has waited longest for it."""
        waiting, holders = self._behind[lock], self._machine.lock_holders
        while waiting and lock not in holders:
            self._move(waiting.popleft())
        if not waiting:
            del self._behind[lock]
