"""A journal through a fresh core, in commit order: the states that the host went through, step by step.

Whoever iterates sees the host as every step left it. That the core does what the journal says (same steps,
same replies) is compared on the way, so what is concluded from the states is about the run that was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn, Protocol

import msgspec
from msgspec import Struct

from hypervisor.core.dispatch import begin
from hypervisor.core.host import Host, HostConfig, new_host
from hypervisor.core.machine import Machine, Operation, StepResult
from hypervisor.core.releases import RELEASES
from hypervisor.core.steps import Caller, Step
from hypervisor.journal import CLOCK, Block, NoteRecord, replies_digest
from hypervisor.public.orders import Outcome
from hypervisor.public.protocol import Call
from hypervisor.public.requests import Reply
from hypervisor.public.units import Commit, Seconds
from hypervisor.streams import JournalError
from launch.check.finding import EvidenceError, Finding, Kind, UnknownError

LOOK_AHEAD: Final = 10_000
"""Records after a gap among which the missing commit is looked for, to tell reordered from dropped."""


class Journal(Protocol):
    """What is replayed: `hypervisor.journal.JournalReader` is one."""

    @property
    def header(self) -> dict[str, Any]:
        """The first map."""
        ...

    def records(self) -> Iterator[Block | NoteRecord]:
        """One after the other. `JournalError` at a damaged one."""
        ...


class UnderWay:
    """An operation between its first and its last step."""

    __slots__ = ("before", "key", "operation", "record", "steps")

    def __init__(self, operation: Operation, key: tuple[int, int], record: int) -> None:
        self.operation = operation
        self.key = key
        """(domid, incarnation) of its caller."""
        self.record = record
        self.steps = 0
        """Done so far."""
        self.before: Any = None
        """What whoever follows the states noted when it began."""


class _Taken:
    """A Call with requests to come, or one under way."""

    __slots__ = ("call", "caller", "done", "key", "one", "record")

    def __init__(self, call: Call, record: int) -> None:
        self.call = call
        self.caller = Caller(call.domid, call.incarnation)
        self.key = (call.domid, call.incarnation)
        self.record = record
        self.done = 0
        """Requests that have their reply."""
        self.one: UnderWay | None = None


class Done(Struct, frozen=True, gc=False):
    """One atomic step, just done: the host is as it left it."""

    one: UnderWay
    step: Step
    result: StepResult


class Clocked(Struct, frozen=True):
    """A clock note: the steps so far were done by emulated second `time`."""

    commit: Commit
    time: Seconds


def cut_off(states: States, outcomes: Iterable[Outcome]) -> str:
    """Why a journal that was walked through is not all there was; "" when nobody knows of later commits.

    The hypervisor writes its records before the replies leave, so one that was killed has written them too.
    """
    told = max((one.commit for one in outcomes), default=0)
    if states.ended or told <= states.commit:
        return ""
    return f"the journal ends at commit {states.commit}, but a toolstack was told of commit {told}"


class States:
    """One journal. Iterate over `steps` to the end; `host` is what they are done to."""

    def __init__(self, journal: Journal, file: str) -> None:
        """`file` is what findings call it. UnknownError for a header that nobody can replay."""
        self._journal = journal
        self._file = file
        self.host = host_of(journal, file)
        self._machine = Machine(self.host)
        self._taken: dict[int, _Taken] = {}
        self._calls = 0
        self.under_way: dict[int, UnderWay] = {}
        """By operation number."""
        self.record = 0
        self.commit: Commit = 0
        self.begun_operations = 0
        self.operations = 0
        """Finished ones."""
        self.ended = False
        """The journal holds the note that the hypervisor leaves when it stops in good order."""

    def begun(self, one: UnderWay) -> None:
        """An operation is about to do its first step; for subclasses."""

    def steps(self) -> Iterator[Done | Clocked]:
        """Every step when it is done. EvidenceError at the first record that cannot be right."""
        records = self._journal.records()
        try:
            for record in records:
                self.record += 1
                if isinstance(record, Block):
                    self._take_in(record, records)
                    rets, replies = record.rets, list[Reply]()
                    for turn in record.turns:
                        yield self._step(turn, rets, replies)
                    self._compare(record, replies)
                else:
                    clocked = self._note(record)
                    if clocked is not None:
                        yield clocked
        except JournalError as error:
            self.record += 1
            self.fault(Kind.DAMAGED, str(error))

    # ---- records

    def _note(self, record: NoteRecord) -> Clocked | None:
        if self.ended:
            self.fault(Kind.REORDERED, "a record after the note that the hypervisor leaves at its end")
        kind, _, fields = record
        if kind == CLOCK:
            return self._clocked(fields)
        self.ended = kind == "end"
        if self.ended and fields.get("commit") != self.commit:
            text = f"the hypervisor ended at commit {fields.get('commit')}"
            self.fault(Kind.TRUNCATED, f"{text}, but that is not the commit before this note")
        return None

    def _clocked(self, fields: dict[str, Any]) -> Clocked:
        commit, time = fields.get("commit"), fields.get("s")
        if not isinstance(commit, int) or not isinstance(time, float | int):
            self.fault(Kind.DAMAGED, f"no note of the clock: {fields}")
        if commit != self.commit:
            self.fault(Kind.REORDERED, f"a note of the clock at commit {commit} stands after {self.commit}")
        return Clocked(commit, time)

    def _take_in(self, block: Block, later: Iterator[Block | NoteRecord]) -> None:
        """Its Calls, if it follows the block before it."""
        if self.ended:
            self.fault(Kind.REORDERED, "steps after the note that the hypervisor leaves at its end")
        if block.commit != self.commit + 1:
            self._out_of_order(block.commit, later)
        if block.call != self._calls + 1:
            text = f"it goes on with Call {block.call}, the one before it was Call {self._calls}"
            self.fault(Kind.GAP, text)
        for call in block.calls:
            self._calls += 1
            if not call.requests:
                self.fault(Kind.DAMAGED, f"Call {self._calls} asks for nothing")
            self._taken[self._calls] = _Taken(call, self.record)

    def _compare(self, block: Block, replies: list[Reply]) -> None:
        """What the block says was answered with what the core answered."""
        if len(replies) != len(block.rets):
            self.fault(Kind.REPLAY, f"it holds {len(block.rets)} rets of {len(replies)} requests that ended")
        digest = replies_digest(replies)
        if digest != block.digest:
            text = f"the journal's digest of the replies up to commit {self.commit} is {block.digest}"
            self.fault(Kind.REPLAY, f"{text}, that of the core's replies is {digest}")

    def _step(self, turn: int, rets: tuple[int, ...], replies: list[Reply]) -> Done:
        """A step of the block whose `rets` are those, of which `replies` have been reached."""
        number = turn if turn > 0 else -turn
        taken = self._taken.get(number)
        if taken is None:
            self.fault(
                Kind.REPLAY, f"commit {self.commit + 1} is of Call {number}, which is not there or over"
            )
        one = taken.one
        if one is None:
            one = taken.one = self._begin(taken)
        step = one.operation.pending
        assert step is not None, "an operation with its reply is under way no more"
        try:  # a parked operation was let go by now: the journal says so
            result = self._machine.step(one.operation)
        except AssertionError as error:
            self.fault(Kind.REPLAY, f"the core cannot do step {step.name!r} here: {error}")
        self.commit += 1
        one.steps += 1
        reply = result.reply
        if reply is None:
            if turn < 0:
                text = f"the journal says {raw_text(one)} ended with step {step.name!r}, the core goes on"
                self.fault(Kind.REPLAY, text)
            return Done(one, step, result)
        if turn > 0:
            text = f"the journal says {raw_text(one)} went on after step {step.name!r}, the core ends it"
            self.fault(Kind.REPLAY, text)
        place = len(replies)
        if place >= len(rets) or rets[place] != reply.ret:
            said = rets[place] if place < len(rets) else "nothing"
            text = f"the journal says ret {said}, the core answers {reply.ret} to {raw_text(one)}"
            self.fault(Kind.REPLAY, text)
        replies.append(reply)
        self._finish(number, taken, one)
        return Done(one, step, result)

    def _finish(self, number: int, taken: _Taken, one: UnderWay) -> None:
        del self.under_way[one.operation.number]
        self.operations += 1
        taken.one = None
        taken.done += 1
        if taken.done == len(taken.call.requests):
            del self._taken[number]

    def _begin(self, taken: _Taken) -> UnderWay:
        self.begun_operations += 1
        number, request = self.begun_operations, taken.call.requests[taken.done]
        steps = begin(self.host, taken.caller, request)
        operation = Operation(number, taken.caller, request, steps, next(steps))
        one = UnderWay(operation, taken.key, taken.record)
        self.under_way[number] = one
        self.begun(one)
        return one

    def _out_of_order(self, commit: int, later: Iterator[Block | NoteRecord]) -> NoReturn:
        """Tell a swapped record from a dropped one by whether the missing one comes later."""
        missing = self.commit + 1
        if commit < missing:
            text = f"it begins with commit {commit}, which stands before commit {self.commit}"
            self.fault(Kind.REORDERED, text)
        try:
            for record in itertools.islice(later, LOOK_AHEAD):
                if isinstance(record, Block) and record.commit == missing:
                    text = f"it begins with commit {commit}, and commit {missing} comes later"
                    self.fault(Kind.REORDERED, text)
        except JournalError:
            pass  # then it is a gap before a damage
        dropped = (
            f"commit {missing} is" if commit == missing + 1 else f"commits {missing} to {commit - 1} are"
        )
        self.fault(Kind.GAP, f"it begins with commit {commit}, but {dropped} missing before it")

    def finding(self, kind: Kind, text: str, record: int | None = None, commit: int | None = None) -> Finding:
        """A finding about this journal, about where it is now if nothing else is said."""
        at_record = self.record if record is None else record
        return Finding(kind, self._file, at_record, self.commit if commit is None else commit, text)

    def fault(self, kind: Kind, text: str) -> NoReturn:
        """Stop here: from this record on the evidence is worth nothing."""
        raise EvidenceError(self.finding(kind, text))


def raw_text(one: UnderWay) -> str:
    """The request, short enough for a line."""
    text = str(one.operation.request)
    return text if len(text) <= 80 else f"{text[:77]}..."


def host_of(journal: Journal, file: str) -> Host:
    """The host of a journal's header as it was at boot. UnknownError when it names none."""
    name = journal.header.get("release")
    release = RELEASES.get(name) if isinstance(name, str) else None
    if release is None:
        known = ", ".join(RELEASES)
        raise UnknownError(f"{file}: release {name!r} is not known here ({known}): check it where it ran")
    try:
        config = msgspec.convert(journal.header.get("host"), HostConfig)
    except (msgspec.ValidationError, ValueError) as error:
        raise UnknownError(f"{file}: its header describes no host: {error}") from error
    return new_host(config, release)
