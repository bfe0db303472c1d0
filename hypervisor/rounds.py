"""One round of a hypervisor process after the other: one host, two sockets, and one atomic step at a time.

A round: take in what has arrived; give every runnable operation one step, in turn, and again until nobody
can move or a few steps are done; write the journal; only then let the replies leave. So a long request never
keeps those under way out for more than a step, nor one that arrives, or has its answer, for more than a few.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Any, Final

import msgspec

from hypervisor.core.machine import Machine, Operation
from hypervisor.core.sources import Refusal, refused_allocations
from hypervisor.core.steps import Caller, Emission, Step
from hypervisor.core.watch import Watch
from hypervisor.journal import JournalWriter
from hypervisor.lag import LagMeter
from hypervisor.observatory import Observatory
from hypervisor.public.requests import Request, VirqEvent
from hypervisor.public.units import VIRQ_DOM_EXC, Commit, DomId, Seconds
from hypervisor.session.server import ServerSession
from hypervisor.session.speakers import Role, RunningCall
from hypervisor.transport import Sent, Server
from hypervisor.turns import Turns

IDLE_MS: Final = 100
"""Longest sleep: how soon a stop is noticed, and how often leases are looked at."""

WAITING_MS: Final = 5
"""Likewise while Calls wait for their guest to read: how soon it is noticed that it has."""

LOOK_EVERY: Final = 16
"""Atomic steps between two looks at the sockets: a look costs as much as a step, and 16 take some 40 us."""

ROLES: Final = MappingProxyType({role.value: role for role in Role})
"""By the name of their socket."""


class Hypervisor:
    """A machine, its callers' session, the wire and the journal, turned round by round."""

    def __init__(
        self,
        machine: Machine,
        session: ServerSession,
        server: Server,
        journal: JournalWriter | None,
        clock: Callable[[], Seconds],
        observatory: Observatory | None = None,
    ) -> None:
        self._observatory = observatory
        self._machine = machine
        self._session = session
        self._server = server
        self._journal = journal
        self._clock = clock
        self._clock_ms: int = 0
        self._clock_commit: Commit = 0
        self._underway = Turns(machine, self._step)
        self._stuck = True  # nothing can move before something arrives
        self._lag = LagMeter()
        self._lease_check = 0
        self._counted: dict[str, int] = {}
        self._refused: Counter[Refusal] = Counter()
        self.steps = 0
        self.calls = 0
        self.sent = 0
        self.dropped = 0
        """Frames for peers that take nothing in."""
        self.gone = 0
        """Frames for peers that are not there any more."""
        self._watch = Watch(machine.host)

    def run(self, stop: Callable[[], bool]) -> None:
        """Rounds until `stop()`; it is looked at after each and at least every IDLE_MS."""
        while not stop():
            self.round(IDLE_MS)
        self._session.close()
        self._take_in(0)
        self._finish_round()
        self._note_violations(self._watch.look_at_everything(self._pending()))
        self._note("end", self.stats())

    def round(self, idle_ms: int) -> None:
        """One round; waits at most `idle_ms` when nothing can move."""
        if self._session.waiting:
            idle_ms = min(idle_ms, WAITING_MS)
        self._take_in(idle_ms if self._stuck else 0)
        self._step_until_due()
        self._finish_round()
        # What nobody waits for comes when the answers are on their way.
        self._note_violations(self._watch.look_when_due(self._pending))
        self._note_clock()
        self._check_leases(monotonic_ms())

    def _take_in(self, timeout_ms: int) -> None:
        begun = time.monotonic_ns()
        readable = self._server.wait(timeout_ms)
        if timeout_ms and not readable and self._clock() >= 0:
            self._lag.overslept(time.monotonic_ns() - begun - timeout_ms * 1_000_000)
        now = monotonic_ms()
        receive, journal = self._session.receive, self._journal
        submit, join = self._machine.submit, self._underway.join
        for role, arrived in self._arrivals(readable):
            for routing, frame in arrived:
                call = receive(role, routing, frame, now)
                if call is not None:
                    self.calls += 1
                    if frame is not None and journal is not None:
                        journal.frames.append(frame)
                        call.number = self.calls
                    caller = call.speaker.caller
                    if caller is None:
                        caller = call.speaker.caller = Caller(*call.key)
                    join(submit(caller, call.requests[0]), call)

    def _arrivals(self, readable: Iterable[str]) -> Iterator[tuple[Role, list[tuple[bytes, bytes | None]]]]:
        """What is at the sockets, and Calls that waited for their guest to read and need not any more."""
        for owner, size in self._server.left():
            self._session.left(owner, size)
        if self._session.waiting:
            for one in self._session.waiting.due():
                if isinstance(one, RunningCall):
                    self._submit(Caller(*one.key), one, one.requests[len(one.replies)])
                else:
                    yield one[0], [one[1:]]
        for name in readable:
            role = ROLES[name]
            yield role, self._server.drain(role)

    def _submit(self, caller: Caller, call: RunningCall, request: Request) -> None:
        self._underway.join(self._machine.submit(caller, request), call)

    # ---- steps

    def _step_until_due(self) -> None:
        """Steps in turn until nobody can move, or it is time to look for arrivals and send the answers."""
        due = self.steps + LOOK_EVERY
        moving = self._underway.give_each()
        while moving and self.steps < due:
            moving = self._underway.give_each()
        self._stuck = not moving

    def _step(self, operation: Operation, call: RunningCall) -> bool:
        """One step; True when it was the operation's last."""
        result = self._machine.step(operation)
        self.steps += 1
        reply, journal = result.reply, self._journal
        if journal is not None:
            if reply is None:
                journal.turns.append(call.number)
            else:
                journal.turns.append(-call.number)
                journal.replies.append(reply)
        if result.refusals:
            self._refused.update(result.refusals)
        if result.emissions:
            self._emit(result.emissions)
        if reply is None:
            return False
        following = self._session.replied(call, reply)
        if following is not None:
            self._submit(operation.caller, call, following)
        return True

    def _emit(self, emissions: Iterable[Emission]) -> None:
        died: list[DomId] = []
        for emission in emissions:
            event, to = emission.event, emission.to
            if to is not None:
                self._session.emit((to.domid, to.incarnation), event)
            elif isinstance(event, VirqEvent):
                self._session.emit_virq(event.virq, event)
                if event.virq == VIRQ_DOM_EXC:
                    died.append(event.domid)
        if died:
            self._session.domains_gone(monotonic_ms(), died)

    def _pending(self) -> list[Step]:
        return [one.pending for one, _ in self._underway if one.pending is not None]

    def _note_violations(self, found: Iterable[str]) -> None:
        """A broken invariant makes the run invalid, it does not stop it."""
        for text in found:
            self._note("violation", {"text": text})

    # ---- the end of a round

    def _finish_round(self) -> None:
        """Journal first, replies after it: nobody is told what is not on record."""
        session, journal = self._session, self._journal
        for note in session.notes:
            self._note(note.kind, note.fields)
        session.notes.clear()
        if journal is not None and (session.outbox or self._stuck or journal.is_long()):
            journal.flush()
        if session.outbox:
            self._send_all()

    def _send_all(self) -> None:
        outbox, self._session.outbox = self._session.outbox, []
        failed = self._server.send_all(outbox)
        self.sent += len(outbox) - len(failed)
        for number, outcome in failed:
            role, routing, frame, owner = outbox[number]
            self._not_sent(role, routing, outcome)
            if owner is not None:
                self._session.left(owner, len(frame))

    def _not_sent(self, role: Role, routing: bytes, outcome: Sent) -> None:
        """The peer must say hello again, and then asks again for what it missed."""
        known = self._session.peer_lost(role, routing, monotonic_ms())
        if outcome is Sent.GONE:
            self.gone += 1
            return
        self.dropped += 1
        if known:  # once: a stranger that takes nothing in is no news
            self._note("dropped", {"role": role.value, "routing": routing})

    def _check_leases(self, now: int) -> None:
        if now < self._lease_check:
            return
        self._lease_check = now + IDLE_MS
        self._session.check_leases(now)
        self._session.abuse.amnesty()
        if self._observatory is not None:
            self._observatory.look(lambda: (self.calls, self.steps), self._refused, self._underway)
        counted = {error: count for error, count in self._session.refusals.items() if count}
        if counted != self._counted:
            self._counted = counted
            self._note("refusals", counted)

    def _note_clock(self) -> None:
        """When the commits since the last such note were done, as exactly as a millisecond tells."""
        if self._journal is None or self._clock_commit == self._machine.commit:
            return
        now = monotonic_ms()
        if now != self._clock_ms:
            self._clock_ms, self._clock_commit = now, self._machine.commit
            self._journal.clock(now, self._clock_commit, self._clock())

    def _note(self, kind: str, fields: Any) -> None:
        if self._journal is not None:
            self._journal.note(kind, monotonic_ms(), fields)

    def stats(self) -> dict[str, Any]:
        """Counts since the start; `refusals` by `WireError` value.

        `growth` is pages added to tot_pages by source, `refused` how often an allocation was refused to whom,
        by what source, for what reason and for how many pages in all (`hypervisor.core.sources`),
        `crashed` how many domains found no memory where they cannot go on without (S10, A30).
        """
        session = self._session
        return {
            "received": session.received,
            "sent": self.sent,
            "lag": msgspec.to_builtins(self._lag.lag()),
            "dropped": self.dropped,
            "gone": self.gone,
            "calls": self.calls,
            "repeated": session.repeated,
            "steps": self.steps,
            "commit": self._machine.commit,
            "refusals": {error: count for error, count in session.refusals.items() if count},
            "unfinished": sum(not one.abandoned for one, _ in self._underway),
            "growth": {source.value: pages for source, pages in self._machine.host.growth.items()},
            "refused": refused_allocations(self._refused),
            "crashed": self._machine.host.crashed,
            "violations": self._watch.violations,
        }


def monotonic_ms() -> int:
    """Real milliseconds of the clock that all processes of the machine share."""
    return time.monotonic_ns() // 1_000_000
