"""The operations that witnesses speak of, picked out of a journal while it goes by."""

from __future__ import annotations

from typing import Final

from hypervisor.core.sources import Reason, Refusal
from hypervisor.public.domctl import MaxMem
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import DOMID_SELF, DomId, Seconds
from hypervisor.public.xenstore import StoreOp
from launch.check.states import Done, UnderWay
from launch.explore.describe import answer, operation
from launch.report.story import Move
from launch.report.wanted import Span, Wanted

AT_EACH_END: Final = 3
"""Operations kept of the beginning of a span, and as many of its end, for each side."""


class Collector:
    """Told of every step."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.moves: dict[int, Move] = {}
        self._began: dict[int, Seconds] = {}
        self._limits: dict[DomId, Move] = {}
        """The last max_mem about each domain."""
        self._claims: dict[DomId, Move] = {}
        """The last claim about each domain."""
        self._coming = sorted(wanted.spans, key=lambda span: span.first, reverse=True)
        self._open: list[_Ends] = []
        self._closed: list[_Ends] = []

    def after(self, done: Done, now: Seconds) -> None:
        """One step of one operation."""
        one, result = done.one, done.result
        number, commit = one.operation.number, result.commit
        if one.steps == 1:
            self._began[number] = now
        while self._coming and self._coming[-1].first <= commit:
            self._open.append(_Ends(self._coming.pop()))
        marked = commit in self._wanted.commits
        if marked or number in self.moves or number in self._wanted.operations or self._in_span(one):
            self._follow(done, now, marked)
        if result.reply is not None:
            del self._began[number]
            if isinstance(one.operation.request, MaxMem | ClaimPages):
                self._remember(done, now)
        if self._open and any(ends.span.last <= commit for ends in self._open):
            self._closed += [ends for ends in self._open if ends.span.last <= commit]
            self._open = [ends for ends in self._open if ends.span.last > commit]

    def _in_span(self, one: UnderWay) -> bool:
        kept = False
        for ends in self._open:
            kept |= ends.offer(one)
        return kept

    def _follow(self, done: Done, now: Seconds, marked: bool) -> None:
        one, result = done.one, done.result
        number = one.operation.number
        move = self.moves.get(number)
        if move is None:
            move = self.moves[number] = move_of(one, self._began[number])
        move.last, move.ended = result.commit, now
        if marked:
            move.marks = (*move.marks, result.commit)
        if result.refusals:
            move.refused = result.refusals[0].reason.value
            if number in self._wanted.operations and not move.because:
                self._explain(move, result.refusals[0])
        if result.reply is not None:
            move.ret = result.reply.ret
            move.answer = answer(one.operation.request, result.reply)

    def _remember(self, done: Done, now: Seconds) -> None:
        """A limit or a claim, which may stand against somebody later."""
        one, result = done.one, done.result
        assert result.reply is not None
        number, request = one.operation.number, one.operation.request
        move = self.moves.get(number) or move_of(one, now)
        move.last, move.ended, move.ret = result.commit, now, result.reply.ret
        move.answer = answer(request, result.reply)
        kept = self._limits if isinstance(request, MaxMem) else self._claims
        if result.reply.ret == 0:
            kept[move.subject] = move

    def _explain(self, move: Move, refusal: Refusal) -> None:
        """The limit that was reached, or the newest claims of others."""
        if refusal.reason is Reason.MAX_PAGES:
            causes = [one for domid, one in self._limits.items() if domid == refusal.domid]
        elif refusal.reason is Reason.CLAIM:
            others = [one for domid, one in self._claims.items() if domid != refusal.domid]
            causes = sorted(others, key=lambda one: one.last)[-AT_EACH_END:]
        else:
            return
        for cause in causes:
            self.moves.setdefault(cause.number, cause)
        move.because = tuple(cause.number for cause in causes)

    def kept(self) -> dict[int, Move]:
        """After the last step: what is named, and the ends of every span."""
        ends = {number for one in [*self._open, *self._closed] for number in one.numbers()}
        named = set(self._wanted.operations)
        for move in self.moves.values():
            named.update(move.because)
        return {n: move for n, move in self.moves.items() if n in named or n in ends or move.marks}


class _Ends:
    """The first and the last few operations of both sides of a span."""

    __slots__ = ("_first", "_last", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self._first: tuple[list[int], list[int]] = ([], [])
        self._last: tuple[list[int], list[int]] = ([], [])

    def offer(self, one: UnderWay) -> bool:
        """True when it is one of them for now."""
        caller = one.operation.caller
        if isinstance(one.operation.request, StoreOp):
            return False  # no memory moves
        if not caller.privileged and (caller.domid, caller.incarnation) not in self.span.movers:
            return False
        side, number = int(caller.privileged), one.operation.number
        first, last = self._first[side], self._last[side]
        if number in first or number in last:
            return True
        if len(first) < AT_EACH_END:
            first.append(number)
        else:
            last.append(number)
            del last[:-AT_EACH_END]
        return True

    def numbers(self) -> list[int]:
        """Of both sides."""
        return [number for part in (*self._first, *self._last) for number in part]


def move_of(one: UnderWay, now: Seconds) -> Move:
    """An operation at the first step that is seen of it."""
    operation_ = one.operation
    caller, request = operation_.caller, operation_.request
    return Move(
        number=operation_.number,
        caller=(caller.domid, caller.incarnation),
        text=operation(request, caller.domid),
        name=type(request).__name__,
        subject=subject_of(one),
        first=operation_.first_commit,
        began=now,
    )


def subject_of(one: UnderWay) -> DomId:
    """The domain that the operation is about; -1 when it is about none."""
    domid: DomId = getattr(one.operation.request, "domid", -1)
    return one.operation.caller.domid if domid == DOMID_SELF else domid
