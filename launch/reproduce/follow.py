"""The recorded interleaving as a schedule: every step by the party that made it, in the order of commits."""

from __future__ import annotations

from collections.abc import Sequence

from hypervisor.journal import reply_digest
from hypervisor.public.requests import Request
from hypervisor.public.units import Commit
from launch.explore.execution import Execution
from launch.explore.moves import Move
from launch.explore.schedule import by_the_rule
from launch.reproduce.cast import Role
from launch.reproduce.recording import Recording


class Follow:
    """Chooses the moves that were recorded, then by the rule of schedules."""

    def __init__(self, recording: Recording, roles: Sequence[Role]) -> None:
        self._steps = recording.steps
        self._place = 0
        self._party = {one.number: index for index, role in enumerate(roles) for one in role.operations}
        self._requests = {one.number: one.request for one in recording.operations}
        self._bound: dict[int, int] = {}  # recorded operation -> the one here
        self._last = 0

    def __call__(self, moves: Sequence[Move]) -> Move:
        """Whose step is recorded next; what his own timers and events must bring first, before it."""
        move = self._recorded(moves) or by_the_rule(moves, self._last)
        self._last = move.party
        return move

    def _recorded(self, moves: Sequence[Move]) -> Move | None:
        while self._place < len(self._steps):
            number = self._steps[self._place].operation
            of_party = [move for move in moves if move.party == self._party[number]]
            move = self._find(number, of_party)
            if move is not None:
                self._place += 1
                return move
            waiting = [move for move in of_party if move.kind != "call"]
            if waiting:
                return waiting[0]
            self._place += 1  # it cannot be done here: the comparison will say so
        return None

    def _find(self, number: int, moves: Sequence[Move]) -> Move | None:
        bound = self._bound.get(number)
        for move in moves:
            operation = None if move.call is None else move.call.operation
            if operation is None:
                continue
            if operation.number == bound:
                return move
            if (
                bound is None
                and operation.first_commit == 0
                and _equal(operation.request, self._requests[number])
            ):
                self._bound[number] = operation.number
                return move
        return None


def _equal(one: Request, other: Request) -> bool:
    return type(one) is type(other) and one == other


def departure(recording: Recording, execution: Execution) -> Commit | None:
    """The first commit at which it did something else than was recorded; None when it never did.

    What comes behind the recording, or behind a violation that ended the execution, is not compared.
    """
    done = [record for record in execution.records if record.commit]
    requests = {one.number: one.request for one in recording.operations}
    for recorded, here in zip(recording.steps, done, strict=False):
        digest = None if here.reply is None else reply_digest(here.reply)
        same = here.request is not None and _equal(here.request, requests[recorded.operation])
        if not same or (recorded.commit, recorded.name, recorded.digest) != (here.commit, here.step, digest):
            return recorded.commit
    if len(done) < len(recording.steps) and not execution.scene.violations:
        return recording.steps[len(done)].commit
    return None
