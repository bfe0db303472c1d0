"""Black-box mode: is there an order of all operations that explains every answer, with no commit numbers?

A search after Wing and Gong (1993) with Lowe's just-in-time choice and memory of dead ends (2017): events are
taken in the order of the clock, and only when a call returns must its operations have happened. Until then
any open call may go first. The specification is the pure core. A hypercall is not atomic in Xen (it yields
between extents), so whole operations are tried first, which nearly always succeeds and proves validity; if no
order of whole operations fits, single atomic steps are. Only when these are exhausted the history is invalid.

The search looks at invocations, returns and the returned numbers alone. It needs the history of every party.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hypervisor.core.host import Host
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.steps import Caller
from launch.check.finding import EvidenceError, Finding, Kind
from launch.check.histories import INVOKED, Event
from launch.check.open_calls import Call, Moment, OpenCalls
from launch.check.real_time import INDEFINITE
from launch.check.report import Verdict

SNAPSHOT_EVERY: Final = 64
"""Units between two copies of the host, at least: turning back costs about that many, a copy milliseconds."""
UNITS_PER_DOMAIN: Final = 4
"""As many for each domain there is, and"""
CALLS_PER_UNIT: Final = 64
"""one for so many calls that have begun: both are copied."""
SNAPSHOTS: Final = 48
"""Copies kept; the older, the farther apart."""
RECENT: Final = 16
"""Copies that are not thinned out."""
READ_AT_ONCE: Final = 1024
"""Events between two looks at the clock."""


@dataclass(slots=True)
class BlackBox:
    """What a search found."""

    verdict: Verdict
    calls: int
    units: int
    """Operations or steps carried out, those of dead ends included."""
    dead_ends: int
    steps: bool
    """The search had to go down to single steps."""
    farthest: int
    """Returns explained at the best; all of them in a valid history."""
    seconds: float = 0.0


class OutOfBudgetError(Exception):
    """The time is over."""


def calls_of(
    events: Iterable[Event], names: Sequence[str], spent: Callable[[], bool]
) -> tuple[list[Call], list[Moment]]:
    """Histories as calls and moments. EvidenceError for what is no history, OutOfBudgetError once `spent`."""
    calls: list[Call] = []
    moments: list[Moment] = []
    open_calls: dict[tuple[tuple[int, int], int], int] = {}
    for number, event in enumerate(events):
        if number % READ_AT_ONCE == 0 and spent():
            raise OutOfBudgetError
        if event.kind == INVOKED:
            open_calls[event.speaker, event.seq] = len(calls)
            moments.append(Moment(True, len(calls)))
            calls.append(Call(Caller(*event.speaker), event.content))
            continue
        call = open_calls.pop((event.speaker, event.seq), None)
        if call is None:
            raise EvidenceError(_fault(event, names, "returns, but was not invoked"))
        if isinstance(event.content, str):
            if event.content not in INDEFINITE:
                calls[call].requests = ()  # refused by the wire: it had no effect
            continue
        calls[call].answers = tuple(int(answer[0]) for answer in event.content)
        if len(calls[call].answers or ()) != len(calls[call].requests):
            raise EvidenceError(_fault(event, names, "has another number of answers than of requests"))
        moments.append(Moment(False, call))
    return calls, moments


def _fault(event: Event, names: Sequence[str], text: str) -> Finding:
    return Finding(Kind.HISTORY, names[event.file], event.record, 0, f"call {event.seq} {text}")


def search(
    calls: Sequence[Call], moments: Sequence[Moment], new_host: Callable[[], Host], budget: float
) -> BlackBox:
    """Valid, invalid or unknown, the last when `budget` real seconds were not enough."""
    begun = time.perf_counter()
    units = dead_ends = farthest = 0
    verdict = Verdict.UNKNOWN
    single = False
    for single, share in ((False, 0.5), (True, 1.0)):
        attempt = _Search(calls, moments, new_host, single, begun + budget * share)
        try:
            found = attempt.run()
        except OutOfBudgetError:
            found = None
        units, dead_ends = units + attempt.units, dead_ends + attempt.dead_ends
        farthest = max(farthest, attempt.farthest)
        if found:
            verdict = Verdict.VALID
            break
        if found is False and single:
            verdict = Verdict.INVALID
    seconds = time.perf_counter() - begun
    return BlackBox(verdict, len(calls), units, dead_ends, single, farthest, seconds)


@dataclass(slots=True)
class _Frame:
    """A place where the search may turn back to: what it has still to try there."""

    done: int
    """Length of the schedule."""
    moment: int
    options: list[int]
    """Calls to go on with, the best last."""
    key: Any = None
    widened: bool = False
    """`options` have held more than the call that returns."""


@dataclass(slots=True)
class _State:
    """A machine, and how far every open call is on it."""

    machine: Machine
    finished: dict[int, int] = field(default_factory=dict[int, int])
    """Requests done of each call that has begun."""
    running: dict[int, Operation] = field(default_factory=dict[int, Operation])
    steps: dict[int, int] = field(default_factory=dict[int, int])
    """Steps done of each running operation."""

    def position(self, call: int) -> tuple[int, int, str]:
        """How far a call is. With the host's digest it decides the future: steps are deterministic."""
        operation = self.running.get(call)
        step = None if operation is None else operation.pending
        return self.finished.get(call, 0), self.steps.get(call, 0), "" if step is None else step.name


class _Search:
    def __init__(
        self,
        calls: Sequence[Call],
        moments: Sequence[Moment],
        new_host: Callable[[], Host],
        single: bool,
        deadline: float,
    ) -> None:
        self._calls = calls
        self._moments = moments
        self._single = single
        self._deadline = deadline
        self._schedule: list[int] = []
        self._snapshots: list[tuple[int, Host, dict[int, int]]] = [(0, new_host(), {})]
        self._state = self._restored()
        self._dead: set[Any] = set()
        self._open = OpenCalls(calls, moments)
        self.units = self.dead_ends = self.farthest = 0

    def run(self) -> bool:
        """True: an order was found. False: there is none."""
        frames: list[_Frame] = []
        moment = 0
        while True:
            moment = self._advance(moment)
            if moment == len(self._moments):
                return True
            key = self._key(moment) if self._dead else None
            if key is not None and key in self._dead:
                frame = None
            else:
                # The returning call is tried first, and nearly always does.
                frame = _Frame(len(self._schedule), moment, [self._moments[moment].call], key)
                frames.append(frame)
            turned = self._go_on(frames, frame)
            if turned is None:
                return False
            moment = turned

    def _go_on(self, frames: list[_Frame], frame: _Frame | None) -> int | None:
        """Carry the next option out; turn back as long as there is none. None: nothing is left to try."""
        while frames:
            frame = frames[-1]
            while frame.options or not frame.widened:
                if len(self._schedule) != frame.done:
                    self._back_to(frame.done)
                if not frame.options:
                    frame.options, frame.widened = self._others(frame.moment), True
                    continue
                if self._carry_out(frame.options.pop()):
                    return frame.moment
                self.dead_ends += 1
                self._back_to(frame.done)
            if len(self._schedule) != frame.done:
                self._back_to(frame.done)
            self._dead.add(self._key(frame.moment) if frame.key is None else frame.key)
            frames.pop()
        return None

    def _advance(self, moment: int) -> int:
        """To the next return whose call has not happened yet."""
        while moment < len(self._moments):
            one = self._moments[moment]
            if not one.invoked and not self._is_over(one.call):
                return moment
            moment += 1
            self.farthest = max(self.farthest, moment)
        return moment

    def _is_over(self, call: int) -> bool:
        return self._state.finished.get(call, 0) == len(self._calls[call].requests)

    def _others(self, moment: int) -> list[int]:
        """The open calls beside the returning one, the first invoked last, the unanswered ones in front."""
        wanted = self._moments[moment].call
        others = [one for one in self._open.at(moment) if one != wanted and not self._is_over(one)]
        others.sort(key=lambda one: (self._calls[one].answers is None, one), reverse=True)
        return others

    # ---- carrying out

    def _carry_out(self, number: int) -> bool:
        """One unit of that call; False when it cannot move now, or answers something else."""
        if time.perf_counter() > self._deadline:
            raise OutOfBudgetError
        self.units += 1
        state, call = self._state, self._calls[number]
        operation = state.running.get(number)
        if operation is None:
            domain = state.machine.host.find(call.caller.domid)
            if not call.caller.privileged and not _may_call(domain, call.caller):
                return False
            operation = state.machine.submit(call.caller, call.requests[state.finished.get(number, 0)])
        self._schedule.append(number)
        state.running[number] = operation
        while operation.reply is None:
            if not state.machine.is_runnable(operation):
                return False
            state.machine.step(operation)
            state.steps[number] = state.steps.get(number, 0) + 1
            if self._single:
                break
        if operation.reply is None:
            return True
        del state.running[number], state.steps[number]
        done = state.finished.get(number, 0)
        state.finished[number] = done + 1
        if call.answers is not None and call.answers[done] != operation.reply.ret:
            return False
        self._keep()
        return True

    def _keep(self) -> None:
        host, finished = self._state.machine.host, self._state.finished
        copied = UNITS_PER_DOMAIN * len(host.domids) + len(finished) // CALLS_PER_UNIT
        far = len(self._schedule) - self._snapshots[-1][0] >= max(SNAPSHOT_EVERY, copied)
        if far and not self._state.running:
            self._snapshots.append((len(self._schedule), copy.deepcopy(host), dict(finished)))
            if len(self._snapshots) > SNAPSHOTS:
                del self._snapshots[1:-RECENT:2]

    def _back_to(self, length: int) -> None:
        again = self._schedule[:length]
        while self._snapshots[-1][0] > length:
            self._snapshots.pop()
        start = self._snapshots[-1][0]
        self._state = self._restored()
        self._schedule = again[:start]
        for number in again[start:]:
            assert self._carry_out(number), "what went well once goes well again"

    def _restored(self) -> _State:
        _, host, finished = self._snapshots[-1]
        return _State(Machine(copy.deepcopy(host)), dict(finished))

    def _key(self, moment: int) -> Any:
        """Two histories that lead to the same key have the same future."""
        state = self._state
        positions = tuple((one, state.position(one)) for one in self._open.at(moment))
        return moment, positions, state.machine.host.future()


def _may_call(domain: Any, caller: Caller) -> bool:
    """A domain that runs: a paused one's call waits, a dead one's is never made."""
    return (
        domain is not None
        and domain.incarnation == caller.incarnation
        and not domain.pause_count
        and not domain.is_dying
    )
