"""Which fault is due, and what has been done to whom."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hypervisor.public.points import NEVER, OVER, Cells, stamp
from hypervisor.public.units import Seconds
from launch.faults.rules import FaultRule, Rules


class Verb(StrEnum):
    """What is done to a party."""

    KILL = "killed"
    PAUSE = "paused"
    RESUME = "resumed"
    START = "started again"


@dataclass(frozen=True, slots=True, order=True)
class Act:
    """One thing to be done, at `second`."""

    second: Seconds
    party: str
    verb: Verb
    occasion: str = ""
    """Why then: the point that was reached."""
    release: int = NEVER
    """Cell to be set once it is done."""


class FaultBook:
    """The faults of one run on one host. No clock, no process: `due` is asked, and told what was done."""

    def __init__(self, rules: Rules, cells: Cells) -> None:
        self._cells = cells
        self._rules = rules
        self._pending = list(rules.faults)
        self._following: list[Act] = []
        self._done: list[str] = []
        self._paused: dict[str, None] = {}

    @property
    def is_idle(self) -> bool:
        """True when nothing is to come any more."""
        return not self._pending and not self._following

    def next_second(self) -> Seconds | None:
        """The next moment at which something may be due although nobody reaches a point."""
        moments = [rule.second for rule in self._pending if rule.second is not None]
        moments += [act.second for act in self._following[:1]]
        return min(moments, default=None)

    def due(self, now: Seconds) -> Iterator[Act]:
        """What is to be done by `now`; each comes once."""
        for rule in [one for one in self._pending if self._is_due(one, now)]:
            self._pending.remove(rule)
            yield from self._acts(rule, now)
        while self._following and self._following[0].second <= now:
            yield heapq.heappop(self._following)

    def _is_due(self, rule: FaultRule, now: Seconds) -> bool:
        return rule.second <= now if rule.second is not None else bool(self._cells[rule.cell])

    def _acts(self, rule: FaultRule, now: Seconds) -> Iterator[Act]:
        table = rule.table
        occasion = "" if rule.second is not None else f", at {table.at}"
        length = table.seconds
        match table.kind:
            case "kill":
                yield Act(now, rule.party, Verb.KILL, occasion)
            case "pause":
                yield Act(now, rule.party, Verb.PAUSE, occasion, rule.release)
                if length is not None:
                    heapq.heappush(self._following, Act(now + length, rule.party, Verb.RESUME))
            case "resume":
                yield Act(now, rule.party, Verb.RESUME, occasion, rule.release)
            case "restart":
                yield Act(now, rule.party, Verb.KILL, occasion)
                heapq.heappush(self._following, Act(now + (length or 0.0), rule.party, Verb.START))

    def did(self, act: Act, now: Seconds, objection: str = "") -> None:
        """It was done, or could not be: then `objection` says why."""
        if act.release != NEVER:
            self._cells[act.release] = stamp(now)
        if objection:
            self._done.append(f"fault: {act.party} could not be {act.verb}: {objection}")
            return
        self._done.append(f"fault: {act.party} {act.verb} at {now:.3f} s{act.occasion}")
        if act.verb is Verb.PAUSE:
            self._paused[act.party] = None
        else:
            self._paused.pop(act.party, None)

    def end(self, now: Seconds) -> list[str]:
        """The run is over: holds end, and those still paused are to be resumed. Their names."""
        self._cells[OVER] = stamp(now)
        return list(self._paused)

    def notes(self) -> list[str]:
        """What was done to whom, and what never came to pass."""
        missed = [
            f"fault: {rule.table.kind} of {rule.party}: {rule.table.at} was never reached"
            if rule.second is None
            else f"fault: {rule.table.kind} of {rule.party} at {rule.second:g} s: the run had ended"
            for rule in self._pending
        ]
        return [*self._done, *missed, *self._rules.held(self._cells)]
