"""A journal replayed and looked at: the same steps, the same replies, books that balance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from hypervisor.core.invariants import Broken, unpermitted
from hypervisor.core.steps import Step
from hypervisor.core.transitions import refused, trace
from hypervisor.public.requests import Reply, Request
from launch.check.books import Books, Sums
from launch.check.finding import Finding, Kind
from launch.check.states import Clocked, Journal, States, UnderWay
from launch.check.tmem_model import TMEM_REQUESTS, TmemModel

TELL_EVERY: Final = 100_000
"""Steps between two words of progress."""


class Finished(Struct, frozen=True, gc=False):
    """An operation, when it has its reply; `last` is None for one that never got it."""

    number: int
    caller: tuple[int, int]
    request: Request
    first: int
    last: int
    ret: int
    record: int


class Replay(States):
    """One journal. Iterate over `finished` to the end, then call `close`."""

    def __init__(self, journal: Journal, file: str, tell: Callable[[int], None]) -> None:
        """`tell` hears the number of steps now and then. UnknownError for a header nobody can replay."""
        super().__init__(journal, file)
        self._tell = tell
        self._books = Books(self.host, self._pending)
        self._tmem = TmemModel()
        self._seen: dict[tuple[str, str], int] = {}
        self.findings: list[Finding] = []
        """Invariants that broke; each kind once."""

    @property
    def full_looks(self) -> int:
        """Steps that needed the full look at the books."""
        return self._books.full_looks

    def begun(self, one: UnderWay) -> None:
        """I9 compares what was before the operation."""
        one.before = self._books.sums, self.host.low_memory.content()

    def finished(self) -> Iterator[Finished]:
        """Every operation when it has its reply. EvidenceError at the first record that cannot be right."""
        books = self._books
        for done in self.steps():
            if isinstance(done, Clocked):
                continue
            one, step, result = done.one, done.step, done.result
            broken = books.after(step)
            if broken:
                self._report(broken, f"after step {step.name!r} of operation {one.operation.number}")
            commit, reply = result.commit, result.reply
            if commit % TELL_EVERY == 0:
                self._tell(commit)
            if reply is not None:
                operation = one.operation
                request = operation.request
                # I9 is asked of whoever ran with nobody in between.
                if commit - reply.first + 1 == one.steps and refused(request, reply):
                    self._look_for_traces(one, reply)
                if type(request) in TMEM_REQUESTS:
                    self._look_at_tmem(one, reply)
                yield Finished(operation.number, one.key, request, reply.first, commit, reply.ret, one.record)

    def unfinished(self) -> Iterator[Finished]:
        """The operations that had begun and never got a reply, in order of their first commits."""
        for number, one in self.under_way.items():
            first = one.operation.first_commit
            yield Finished(number, one.key, one.operation.request, first, self.commit, 0, one.record)

    def close(self) -> None:
        """Look at the end state."""
        self._report(self._books.close(), "the end")

    # ---- invariants

    def _look_for_traces(self, one: UnderWay, reply: Reply) -> None:
        """I9 by the host's counters: a refused operation left no trace."""
        before, after = one.before, (self._books.sums, self.host.low_memory.content())
        if after == before:
            return
        request, names = one.operation.request, ("",) * one.steps
        broken = trace(_parts(*before), _parts(*after), request, reply, names)
        self._report(unpermitted(broken, self.host.release), f"by operation {one.operation.number}")

    def _look_at_tmem(self, one: UnderWay, reply: Reply) -> None:
        """I7, by a model of its own."""
        operation = one.operation
        broken = self._tmem.finished(operation.caller, operation.request, reply)
        if broken is not None:
            self._report((Broken("I7", "", broken),), f"by operation {operation.number}")

    def _pending(self) -> list[Step]:
        pending = (one.operation.pending for one in self.under_way.values())
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


def _parts(sums: Sums, low: tuple[int, ...]) -> dict[str, bytes]:
    available, claims, in_flight, free, xen, *_ = sums
    return {
        "claims": str(claims).encode(),
        "counters": str((free, xen, in_flight)).encode(),
        "low memory": str(low).encode(),
        "tmem": str(available - free).encode(),
    }
