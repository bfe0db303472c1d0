"""A journal through a fresh core, in commit order: the states that the host went through, step by step.

Whoever iterates sees the host as every step left it. That the core does what the journal says (same steps,
same replies) is compared on the way, so what is concluded from the states is about the run that was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, NoReturn, Protocol, cast

import msgspec

from hypervisor.core.dispatch import begin
from hypervisor.core.host import Host, HostConfig, new_host
from hypervisor.core.machine import Machine, Operation, StepResult
from hypervisor.core.releases import RELEASES
from hypervisor.core.steps import Caller, Step
from hypervisor.journal import CLOCK, SUM, JournalError, reply_digest, to_request
from hypervisor.public.orders import Outcome
from hypervisor.public.units import Commit, Seconds
from launch.check.finding import EvidenceError, Finding, Kind, UnknownError

LOOK_AHEAD: Final = 10_000
"""Records after a gap among which the missing commit is looked for, to tell reordered from dropped."""


class Journal(Protocol):
    """What is replayed: `hypervisor.journal.JournalReader` is one."""

    @property
    def header(self) -> dict[str, Any]:
        """The first map."""
        ...

    def objects(self) -> Iterator[Any]:
        """The records as plain lists. `JournalError` at a damaged one."""
        ...


class UnderWay:
    """An operation between its first and its last step."""

    __slots__ = ("before", "operation", "raw", "record", "steps")

    def __init__(self, operation: Operation, raw: Any, record: int) -> None:
        self.operation = operation
        self.raw = raw
        """The request as in the file: [tag, fields...]."""
        self.record = record
        self.steps = 0
        """Done so far."""
        self.before: Any = None
        """What whoever follows the states noted when it began."""


class Done(NamedTuple):
    """One atomic step, just done: the host is as it left it."""

    one: UnderWay
    step: Step
    result: StepResult


class Clocked(NamedTuple):
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
        self.under_way: dict[int, UnderWay] = {}
        """By operation number."""
        self.record = 0
        self.commit: Commit = 0
        self.operations = 0
        """Finished ones."""
        self.ended = False
        """The journal holds the note that the hypervisor leaves when it stops in good order."""

    def begun(self, one: UnderWay) -> None:
        """An operation is about to do its first step; for subclasses."""

    def steps(self) -> Iterator[Done | Clocked]:
        """Every step when it is done. EvidenceError at the first record that cannot be right."""
        objects = self._journal.objects()
        try:
            for record in objects:
                self.record += 1
                if is_array(record, 7, int):
                    if record[0] != self.commit + 1:
                        self._out_of_order(record[0], objects)
                    yield self._step(*record)
                else:
                    clocked = self._note(record)
                    if clocked is not None:
                        yield clocked
        except JournalError as error:
            self.record += 1
            self.fault(Kind.DAMAGED, str(error))

    # ---- records

    def _note(self, record: Any) -> Clocked | None:
        if not is_array(record, 3, str) or type(record[2]) is not dict:
            self.fault(Kind.DAMAGED, "neither a step nor a note")
        kind, _, fields = record
        if kind == SUM:
            return None  # the reader compared it
        if self.ended:
            self.fault(Kind.REORDERED, "a record after the note that the hypervisor leaves at its end")
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

    def _step(
        self, commit: int, number: int, name: str, caller: Any, raw: Any, digest: int | None, ret: int | None
    ) -> Done:
        if self.ended:
            self.fault(Kind.REORDERED, "a step after the note that the hypervisor leaves at its end")
        one = self.under_way.get(number)
        if raw is not None:
            one = self._begin(number, caller, raw, one)
        elif one is None:
            self.fault(Kind.REPLAY, f"operation {number} goes on, but no record begins it")
        elif caller is not None:
            self.fault(Kind.DAMAGED, "a caller without a request")
        operation = one.operation
        step = operation.pending
        if step is None or step.name != name:
            self.fault(
                Kind.REPLAY, f"the journal says step {name!r}, the core does {step.name if step else None!r}"
            )
        try:  # a parked operation was let go by now: the journal says so
            result = self._machine.step(operation)
        except AssertionError as error:
            self.fault(Kind.REPLAY, f"the core cannot do step {step.name!r} here: {error}")
        self.commit = commit
        one.steps += 1
        reply = result.reply
        if reply is None:
            if digest is not None or ret is not None:
                self.fault(Kind.REPLAY, f"the journal says operation {number} ended, the core goes on")
        elif ret != reply.ret:
            self.fault(
                Kind.REPLAY, f"the journal says ret {ret}, the core answers {reply.ret} to {raw_text(one)}"
            )
        elif digest != reply_digest(reply):
            text = f"the journal's digest is {digest}, that of the core's reply to {raw_text(one)} is "
            self.fault(Kind.REPLAY, f"{text}{reply_digest(reply)}")
        else:
            del self.under_way[number]
            self.operations += 1
        return Done(one, step, result)

    def _begin(self, number: int, caller: Any, raw: Any, one: UnderWay | None) -> UnderWay:
        if one is not None:
            self.fault(Kind.REPLAY, f"operation {number} begins again before its end")
        try:
            request = to_request(raw)
            domid, incarnation = caller
            who = Caller(domid, incarnation)
            steps = begin(self.host, who, request)
            operation = Operation(number, who, request, steps, next(steps))
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            self.fault(Kind.DAMAGED, f"no caller and request: {error}")
        one = UnderWay(operation, raw, self.record)
        self.under_way[number] = one
        self.begun(one)
        return one

    def _out_of_order(self, commit: int, objects: Iterator[Any]) -> NoReturn:
        """Tell a swapped record from a dropped one by whether the missing one comes later."""
        missing = self.commit + 1
        if commit < missing:
            self.fault(Kind.REORDERED, f"it holds commit {commit}, which stands before commit {self.commit}")
        try:
            for later in itertools.islice(objects, LOOK_AHEAD):
                if is_array(later, 7, int) and later[0] == missing:
                    self.fault(Kind.REORDERED, f"it holds commit {commit}, and commit {missing} comes later")
        except JournalError:
            pass  # then it is a gap before a damage
        dropped = (
            f"commit {missing} is" if commit == missing + 1 else f"commits {missing} to {commit - 1} are"
        )
        self.fault(Kind.GAP, f"it holds commit {commit}, but {dropped} missing before it")

    def finding(self, kind: Kind, text: str, record: int | None = None, commit: int | None = None) -> Finding:
        """A finding about this journal, about where it is now if nothing else is said."""
        at_record = self.record if record is None else record
        return Finding(kind, self._file, at_record, self.commit if commit is None else commit, text)

    def fault(self, kind: Kind, text: str) -> NoReturn:
        """Stop here: from this record on the evidence is worth nothing."""
        raise EvidenceError(self.finding(kind, text))


def is_array(record: object, length: int, first: type) -> bool:
    """True for a list of that length whose first element is of exactly that type."""
    elements = cast(Sequence[Any], record)
    return isinstance(record, list) and len(elements) == length and type(elements[0]) is first


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
