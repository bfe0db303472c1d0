"""A journal through a fresh core, in commit order: the same steps, the same replies, books that balance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, NoReturn, cast

import msgspec

from hypervisor.core.dispatch import begin
from hypervisor.core.host import Host, HostConfig, new_host
from hypervisor.core.invariants import Broken, unpermitted
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.releases import RELEASES
from hypervisor.core.steps import Caller, Step
from hypervisor.core.transitions import refused, trace
from hypervisor.journal import SUM, JournalError, JournalReader, reply_digest, to_request
from hypervisor.public.requests import Reply
from launch.check.books import Books
from launch.check.finding import EvidenceError, Finding, Kind, UnknownError

LOOK_AHEAD: Final = 10_000
"""Records after a gap among which the missing commit is looked for, to tell reordered from dropped."""
TELL_EVERY: Final = 100_000
"""Steps between two words of progress."""

Totals = tuple[int, int, int, int, tuple[int, ...]]


class Finished(NamedTuple):
    """An operation, when it has its reply; `last` is None for one that never got it."""

    number: int
    caller: tuple[int, int]
    request: Any
    """As in the file: [tag, fields...]."""
    first: int
    last: int
    ret: int
    record: int


class UnderWay:
    """An operation between its first and its last step."""

    __slots__ = ("before", "operation", "raw", "record", "steps")

    def __init__(self, operation: Operation, raw: Any, before: Totals, record: int) -> None:
        self.operation = operation
        self.raw = raw
        self.before = before
        self.record = record
        self.steps = 0


class Replay:
    """One journal. Iterate over `finished` to the end, then call `close`."""

    def __init__(self, reader: JournalReader, file: str, tell: Callable[[int], None]) -> None:
        """`tell` hears the number of steps now and then. UnknownError for a header nobody can replay."""
        self._reader = reader
        self._file = file
        self._tell = tell
        self._host = host_of(reader, file)
        self._machine = Machine(self._host)
        self._books = Books(self._host, self._pending)
        self._under_way: dict[int, UnderWay] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self.record = 0
        self.commit = 0
        self.operations = 0
        """Finished ones."""
        self.ended = False
        """The journal holds the note that the hypervisor leaves when it stops in good order."""
        self.findings: list[Finding] = []
        """Invariants that broke; each kind once."""

    @property
    def full_looks(self) -> int:
        """Steps that needed the full look at the books."""
        return self._books.full_looks

    def finished(self) -> Iterator[Finished]:
        """Every operation when it has its reply. EvidenceError at the first record that cannot be right."""
        objects = self._reader.objects()
        try:
            for record in objects:
                self.record += 1
                if is_array(record, 7, int):
                    if record[0] != self.commit + 1:
                        self._out_of_order(record[0], objects)
                    finished = self._step(*record)
                    if finished is not None:
                        yield finished
                else:
                    self._note(record)
        except JournalError as error:
            self.record += 1
            self._fault(Kind.DAMAGED, str(error))

    def unfinished(self) -> Iterator[Finished]:
        """The operations that had begun and never got a reply, in order of their first commits."""
        for number, one in self._under_way.items():
            caller = one.operation.caller
            key = (caller.domid, caller.incarnation)
            yield Finished(number, key, one.raw, one.operation.first_commit, self.commit, 0, one.record)

    def close(self) -> None:
        """Look at the end state."""
        self._report(self._books.close(), "the end")

    # ---- records

    def _note(self, record: Any) -> None:
        if not is_array(record, 3, str) or type(record[2]) is not dict:
            self._fault(Kind.DAMAGED, "neither a step nor a note")
        if record[0] == SUM:
            return  # the reader compared it
        if self.ended:
            self._fault(Kind.REORDERED, "a record after the note that the hypervisor leaves at its end")
        self.ended = record[0] == "end"
        if self.ended and record[2].get("commit") != self.commit:
            text = f"the hypervisor ended at commit {record[2].get('commit')}"
            self._fault(Kind.TRUNCATED, f"{text}, but that is not the commit before this note")

    def _step(
        self, commit: int, number: int, name: str, caller: Any, raw: Any, digest: int | None, ret: int | None
    ) -> Finished | None:
        if self.ended:
            self._fault(Kind.REORDERED, "a step after the note that the hypervisor leaves at its end")
        one = self._under_way.get(number)
        if raw is not None:
            one = self._begin(number, caller, raw, one)
        elif one is None:
            self._fault(Kind.REPLAY, f"operation {number} goes on, but no record begins it")
        elif caller is not None:
            self._fault(Kind.DAMAGED, "a caller without a request")
        operation = one.operation
        step = operation.pending
        if step is None or step.name != name:
            self._fault(
                Kind.REPLAY, f"the journal says step {name!r}, the core does {step.name if step else None!r}"
            )
        reply = self._do(operation, step, commit)
        one.steps += 1
        if reply is None:
            if digest is not None or ret is not None:
                self._fault(Kind.REPLAY, f"the journal says operation {number} ended, the core goes on")
            return None
        if ret != reply.ret:
            self._fault(
                Kind.REPLAY, f"the journal says ret {ret}, the core answers {reply.ret} to {raw_text(one)}"
            )
        if digest != reply_digest(reply):
            self._fault(
                Kind.REPLAY,
                f"the journal's digest is {digest}, that of the core's reply to {raw_text(one)} is "
                f"{reply_digest(reply)}",
            )
        del self._under_way[number]
        self.operations += 1
        self._look_for_traces(one, reply)
        key = (operation.caller.domid, operation.caller.incarnation)
        return Finished(number, key, one.raw, reply.first, commit, reply.ret, one.record)

    def _begin(self, number: int, caller: Any, raw: Any, one: UnderWay | None) -> UnderWay:
        if one is not None:
            self._fault(Kind.REPLAY, f"operation {number} begins again before its end")
        try:
            request = to_request(raw)
            domid, incarnation = caller
            who = Caller(domid, incarnation)
            steps = begin(self._host, who, request)
            operation = Operation(number, who, request, steps, next(steps))
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            self._fault(Kind.DAMAGED, f"no caller and request: {error}")
        one = UnderWay(operation, raw, self._totals(), self.record)
        self._under_way[number] = one
        return one

    def _do(self, operation: Operation, step: Step, commit: int) -> Reply | None:
        """Do the step and look at the books. A parked operation was let go by now: the journal says so."""
        try:
            result = self._machine.step(operation)
        except AssertionError as error:
            self._fault(Kind.REPLAY, f"the core cannot do step {step.name!r} here: {error}")
        self.commit = commit
        broken = self._books.after(step)
        if broken:
            self._report(broken, f"after step {step.name!r} of operation {operation.number}")
        if commit % TELL_EVERY == 0:
            self._tell(commit)
        return result.reply

    def _out_of_order(self, commit: int, objects: Iterator[Any]) -> NoReturn:
        """Tell a swapped record from a dropped one by whether the missing one comes later."""
        missing = self.commit + 1
        if commit < missing:
            self._fault(Kind.REORDERED, f"it holds commit {commit}, which stands before commit {self.commit}")
        try:
            for later in itertools.islice(objects, LOOK_AHEAD):
                if is_array(later, 7, int) and later[0] == missing:
                    self._fault(Kind.REORDERED, f"it holds commit {commit}, and commit {missing} comes later")
        except JournalError:
            pass  # then it is a gap before a damage
        dropped = (
            f"commit {missing} is" if commit == missing + 1 else f"commits {missing} to {commit - 1} are"
        )
        self._fault(Kind.GAP, f"it holds commit {commit}, but {dropped} missing before it")

    # ---- invariants

    def _totals(self) -> Totals:
        host = self._host
        return (
            host.heap.total_avail,
            host.xen_pages,
            host.in_flight_pages,
            host.outstanding_claims,
            host.low_memory.content(),
        )

    def _look_for_traces(self, one: UnderWay, reply: Reply) -> None:
        """I9 by the host's counters: a refused operation that ran with nobody in between left no trace."""
        if reply.last - reply.first + 1 != one.steps:
            return
        after = self._totals()
        if after == one.before or not refused(one.operation.request, reply):
            return
        names = ("",) * one.steps
        broken = trace(_parts(one.before), _parts(after), one.operation.request, reply, names)
        self._report(unpermitted(broken, self._host.release), f"by operation {one.operation.number}")

    def _pending(self) -> list[Step]:
        pending = (one.operation.pending for one in self._under_way.values())
        return [step for step in pending if step is not None]

    def _report(self, broken: tuple[Broken, ...], where: str) -> None:
        """Each invariant and form once: what stands after the first is mostly its consequence."""
        for one in broken:
            seen = self._seen.get((one.invariant, one.form), 0)
            self._seen[one.invariant, one.form] = seen + 1
            if not seen:
                form = f" ({one.form})" if one.form else ""
                text = f"{one.invariant}{form} does not hold {where}: {one.detail}"
                self.findings.append(self.finding(Kind.INVARIANT, text))

    def finding(self, kind: Kind, text: str, record: int | None = None, commit: int | None = None) -> Finding:
        """A finding about this journal, about where it is now if nothing else is said."""
        at_record = self.record if record is None else record
        return Finding(kind, self._file, at_record, self.commit if commit is None else commit, text)

    def _fault(self, kind: Kind, text: str) -> NoReturn:
        raise EvidenceError(self.finding(kind, text))


def is_array(record: object, length: int, first: type) -> bool:
    """True for a list of that length whose first element is of exactly that type."""
    elements = cast(Sequence[Any], record)
    return isinstance(record, list) and len(elements) == length and type(elements[0]) is first


def raw_text(one: UnderWay) -> str:
    """The request, short enough for a line."""
    text = str(one.operation.request)
    return text if len(text) <= 80 else f"{text[:77]}..."


def host_of(reader: JournalReader, file: str) -> Host:
    """The host of a journal's header as it was at boot. UnknownError when it names none."""
    name = reader.header.get("release")
    release = RELEASES.get(name) if isinstance(name, str) else None
    if release is None:
        known = ", ".join(RELEASES)
        raise UnknownError(f"{file}: release {name!r} is not known here ({known}): check it where it ran")
    try:
        config = msgspec.convert(reader.header.get("host"), HostConfig)
    except (msgspec.ValidationError, ValueError) as error:
        raise UnknownError(f"{file}: its header describes no host: {error}") from error
    return new_host(config, release)


def _parts(totals: Totals) -> dict[str, bytes]:
    free, xen, in_flight, claims, low = totals
    return {
        "claims": str(claims).encode(),
        "counters": str((free, xen, in_flight)).encode(),
        "low memory": str(low).encode(),
    }
