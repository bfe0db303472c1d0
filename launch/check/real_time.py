"""I12: every operation took effect between its invocation and its return, in one sweep over all histories.

Commits are a total order, so nothing is searched for. If one call returned before another was invoked, the
first one's last commit is below the other's first. While the events go by in the order of the clock, the
highest commit that anybody had heard of is all that must be remembered. The journal is replayed just as far
as the answers reach; an operation stays in memory until its answer comes by.

A call that never returned, or whose answer was lost, may or may not have happened; if it did, then after
its invocation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NoReturn

from hypervisor.public.errors import WireError
from hypervisor.public.requests import Request
from hypervisor.public.units import Commit
from launch.check.finding import EvidenceError, Finding, Kind
from launch.check.histories import INVOKED, Event, Histories
from launch.check.replay import Finished, Replay

Speaker = tuple[int, int]
"""(domid, incarnation)."""
INDEFINITE: Final = ("", WireError.DOMAIN_GONE.value, WireError.STALE_SEQUENCE.value)
"""Outcomes that leave open what happened: the answer is lost or forgotten, or the domain died before it."""


Place = tuple[int, int]
"""(index of a history, record)."""


class Call:
    """An invocation without a return so far."""

    __slots__ = ("floor", "floor_at", "requests")

    def __init__(self, floor: int, floor_at: Place, requests: tuple[Request, ...]) -> None:
        self.floor = floor
        """The highest commit that anybody had been told of before."""
        self.floor_at = floor_at
        self.requests = requests


class RealTime:
    """Compares the histories of a host with its journal."""

    def __init__(self, replay: Replay, histories: Histories) -> None:
        self._replay = replay
        self._finished: Iterator[Finished] = replay.finished()
        self._histories = histories
        self._open: dict[Speaker, dict[int, Call]] = {}
        self._unanswered: dict[int, Finished] = {}
        self._strangers: dict[Speaker, Finished] = {}
        """The first operation of each caller that no history has named yet."""
        self._floor = 0
        self._floor_at: Place = (0, 0)
        self.returned = 0
        """Operations whose answer a party had."""
        self.unrecorded = 0
        """Operations of callers that kept no history."""
        self.indefinite = 0
        """Requests of calls that never had an answer."""
        self.happened = 0
        """Of these, the ones that the journal holds all the same."""

    def run(self) -> None:
        """Everything to the end. EvidenceError at the first thing that cannot be right."""
        for event in self._histories.events():
            if event.kind == INVOKED:
                self._invoked(event)
            else:
                self._came_back(event)
        for finished in self._finished:
            self._keep(finished)
        self._settle()

    def _invoked(self, event: Event) -> None:
        speaker, seq = event.speaker, event.seq
        stranger = self._strangers.get(speaker)
        if stranger is not None:  # it keeps a history after all, and acted before its first call in it
            self._never_invoked(stranger)
        calls = self._open.setdefault(speaker, {})
        if seq in calls:
            self._fault(Kind.HISTORY, event, f"call {seq} of {_name(speaker)} is invoked twice")
        calls[seq] = Call(self._floor, self._floor_at, event.content)

    def _came_back(self, event: Event) -> None:
        speaker, seq = event.speaker, event.seq
        calls = self._open.get(speaker, {})
        call = calls.get(seq)
        if call is None:
            self._fault(Kind.HISTORY, event, f"call {seq} of {_name(speaker)} returns, but was not invoked")
        if isinstance(event.content, str):
            if event.content not in INDEFINITE:
                del calls[seq]  # refused: it had no effect
            return
        del calls[seq]
        if len(event.content) != len(call.requests):
            text = f"{len(event.content)} answers to {len(call.requests)} requests"
            self._fault(Kind.HISTORY, event, text)
        floor, floor_at, here = call.floor, call.floor_at, (event.file, event.record)
        for request, answer in zip(call.requests, event.content, strict=True):
            floor = self._answer(event, speaker, request, answer, floor, floor_at)
            floor_at = here  # the requests of a call run one after the other
        if floor > self._floor:
            self._floor, self._floor_at = floor, here

    def _answer(
        self,
        event: Event,
        speaker: Speaker,
        request: Request,
        answer: tuple[int, Commit, Commit],
        floor: Commit,
        floor_at: Place,
    ) -> int:
        """One request's answer against the journal; gives its last commit."""
        ret, first, last = answer
        self._replay_to(event, last)
        one = self._unanswered.pop(last, None)
        if one is None or one.caller != speaker or one.first != first:
            text = f"{_name(speaker)} was told commits {first} to {last}, no operation of it in the journal"
            self._fault(Kind.HISTORY, event, f"{text}, or one that was not invoked yet", last)
        if one.ret != ret:
            text = f"it was told ret {ret}, the journal (record {one.record}) says {one.ret}"
            self._fault(Kind.HISTORY, event, text, last)
        if one.request != request:
            text = f"it asked {request}, the journal (record {one.record}) says {one.request}"
            self._fault(Kind.HISTORY, event, text, last)
        if first <= floor:
            text = f"{_name(speaker)} was told commits {first} to {last}, but commit {floor} had returned"
            self._fault(Kind.REAL_TIME, event, f"{text} before it was invoked ({self._at(floor_at)})", last)
        self.returned += 1
        return last

    def _replay_to(self, event: Event, commit: int) -> None:
        while self._replay.commit < commit:
            finished = next(self._finished, None)
            if finished is None:
                if self._replay.ended:
                    text = f"it was told of commit {commit}, the journal ends in good order before"
                    self._fault(Kind.HISTORY, event, text)
                where = self._at((event.file, event.record))
                text = f"the journal ends there, but a party was told of commit {commit}: {where}"
                raise EvidenceError(self._replay.finding(Kind.TRUNCATED, text))
            self._keep(finished)

    def _keep(self, finished: Finished) -> None:
        """Whoever keeps a history has invoked by now: an invocation is on record before it can act."""
        if finished.caller in self._open:
            self._unanswered[finished.last] = finished
        else:
            self.unrecorded += 1
            self._strangers.setdefault(finished.caller, finished)

    def _settle(self) -> None:
        """What has no answer must be one of the calls that never returned, and begin after its invocation."""
        unfinished = [one for one in self._replay.unfinished() if one.caller in self._open]
        for one in sorted((*self._unanswered.values(), *unfinished), key=lambda one: one.first):
            self._claim(one)
        self.indefinite = self.happened + sum(
            len(call.requests) for calls in self._open.values() for call in calls.values()
        )

    def _claim(self, one: Finished) -> None:
        """Strike the operation out of an unreturned call. Which of several equal ones makes no difference."""
        late: Call | None = None
        for call in self._open[one.caller].values():
            if one.request not in call.requests:
                continue
            if call.floor < one.first:
                call.requests = without(call.requests, one.request)
                self.happened += 1
                return
            late = call
        if late is None:
            self._never_invoked(one)
        text = (
            f"operation {one.number} of {_name(one.caller)} began at commit {one.first}, but commit "
            f"{late.floor} had returned before it was invoked ({self._at(late.floor_at)})"
        )
        raise EvidenceError(self._replay.finding(Kind.REAL_TIME, text, one.record, one.first))

    def _never_invoked(self, one: Finished) -> NoReturn:
        what = f"operation {one.number} of {_name(one.caller)}"
        text = f"{what}: no history holds its invocation: {one.request}"
        raise EvidenceError(self._replay.finding(Kind.HISTORY, text, one.record, one.first))

    def _at(self, place: Place) -> str:
        file, record = place
        return f"{self._histories.names[file]} record {record}"

    def _fault(self, kind: Kind, event: Event, text: str, commit: int | None = None) -> NoReturn:
        name = self._histories.names[event.file]
        at = self._replay.commit if commit is None else commit
        raise EvidenceError(Finding(kind, name, event.record, at, text))


def without(requests: tuple[Request, ...], one: Request) -> tuple[Request, ...]:
    """All but the first that equals it."""
    place = requests.index(one)
    return requests[:place] + requests[place + 1 :]


def _name(speaker: Speaker) -> str:
    domid, incarnation = speaker
    return f"domain {domid}" if domid else f"toolstack {incarnation:x}"
