"""Runs requests one atomic step at a time. Who moves next is decided outside (house.md, core contract).

The machine knows which requests are under way, which global lock each holds (P9) and which callers
are parked; it has no queue and no preference.
"""

from collections import deque
from collections.abc import Callable, Mapping

from msgspec import Struct

from hypervisor.core.dispatch import begin
from hypervisor.core.host import Host
from hypervisor.core.mediation import is_undecided
from hypervisor.core.sources import Refusal
from hypervisor.core.steps import Caller, Emission, Result, Step, Steps
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_DOM0, Commit


class Operation(Struct, eq=False):
    """One request under way."""

    number: int
    """Counted from 1 in order of submission."""
    caller: Caller
    request: Request
    steps: Steps
    pending: Step | None
    """The step it will do next; None once it has its reply."""
    parked: bool = False
    """Its domain is paused: a paused domain's vcpus do not run, so its hypercalls wait."""
    abandoned: bool = False
    """Its domain went away while it was parked: there will be no reply."""
    reply: Reply | None = None
    first_commit: Commit = 0
    last_commit: Commit = 0


class StepResult(Struct, frozen=True):
    """What one atomic step did."""

    commit: Commit
    step: str
    reply: Reply | None
    """Set by the operation's last step."""
    emissions: tuple[Emission, ...]
    refusals: tuple[Refusal, ...] = ()
    """Allocations that this step refused; nearly always none."""


Seen = Callable[[Operation, StepResult], None]
"""Told of atomic steps."""


class Machine:
    """A host and the requests under way on it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._submitted = 0
        self._lock_holders: dict[str, Operation] = {}
        self.lock_holders: Mapping[str, Operation] = self._lock_holders
        """Who holds a global lock between two of its steps, by the lock."""
        self._parked: list[Operation] = []
        self._asleep: list[Operation] = []

    @property
    def commit(self) -> Commit:
        """Number of the last atomic step done; 0 before the first."""
        return self.host.commit

    @property
    def submitted(self) -> int:
        """Requests taken in so far."""
        return self._submitted

    def submit(self, caller: Caller, request: Request) -> Operation:
        """Take a request in; nothing of it is done yet. A paused domain's request is parked."""
        self._submitted += 1
        steps = begin(self.host, caller, request)
        operation = Operation(self._submitted, caller, request, steps, next(steps))
        domain = None if caller.domid == DOMID_DOM0 else self.host.domains.get(caller.domid)
        if domain is not None and not domain.runs:
            operation.parked = True
            self._parked.append(operation)
        return operation

    def is_runnable(self, operation: Operation) -> bool:
        """False while parked, finished, or while another operation holds the lock it needs next."""
        step = operation.pending
        if operation.parked or step is None:
            return False
        if step.awaits is not None and is_undecided(self.host, step.awaits):
            return False
        lock = step.lock
        return lock is None or self._lock_holders.get(lock, operation) is operation

    def step(self, operation: Operation) -> StepResult:
        """Do the operation's pending step. AssertionError when it is not runnable."""
        step = operation.pending
        assert step is not None, "the operation has its reply already"
        host, lock = self.host, step.lock
        if lock is not None:
            holder = self._lock_holders.setdefault(lock, operation)
            assert holder is operation, f"{step.name}: the {lock} lock is taken"
        commit = host.commit = host.commit + 1
        host.current = operation.caller.domid
        if not operation.first_commit:
            operation.first_commit = commit
        reply = None
        try:
            operation.pending = following = operation.steps.send(None)
        except StopIteration as finished:
            reply = self._finish(operation, finished.value, commit)
            following = None
        if lock is not None and (following is None or following.lock != lock or following.restart):
            del self._lock_holders[
                lock
            ]  # kept between steps that name it, dropped by a continuation (P9, P10)
        if following is not None and following.sleeps:
            self._fall_asleep(operation)
        if host.emissions or host.refusals or host.unpaused or host.gone or host.resumed:
            return self._result(step, reply)
        return StepResult(commit, step.name, reply, ())

    def _result(self, step: Step, reply: Reply | None) -> StepResult:
        """What the step just done came to; whoever it wakes can move."""
        host = self.host
        emissions: tuple[Emission, ...] = ()
        if host.emissions:
            emissions = tuple(host.emissions)
            host.emissions.clear()
        refusals: tuple[Refusal, ...] = ()
        if host.refusals:
            refusals = tuple(host.refusals)
            host.refusals.clear()
        if host.unpaused or host.gone:
            self._wake()
        if host.resumed:
            self._resume()
        return StepResult(host.commit, step.name, reply, emissions, refusals)

    def take_turns(self, waiting: deque[Operation], seen: Seen | None) -> tuple[Operation, StepResult] | None:
        """A step for each that can take one, longest waiting first, until one of them emits or replies.

        What `step` does, again and again, for whoever knows that nobody else can come in between. The one
        that ended it is out of `waiting`; None when none can move. `seen` is told of the steps before that.
        """
        host, is_runnable = self.host, self.is_runnable
        while True:
            if waiting and is_runnable(waiting[0]):  # nearly always
                operation = waiting.popleft()
            else:
                found = self._first_of(waiting)
                if found is None:
                    return None
                operation = found
            step = operation.pending
            assert step is not None
            if step.lock is not None or not operation.first_commit:
                result = self.step(operation)
            else:
                host.commit += 1
                host.current = operation.caller.domid
                try:
                    operation.pending = operation.steps.send(None)
                except StopIteration as finished:
                    reply = self._finish(operation, finished.value, host.commit)
                    return operation, self._result(step, reply)
                if operation.pending.sleeps:
                    self._fall_asleep(operation)
                if not (host.emissions or host.refusals or host.unpaused or host.gone):
                    if seen is not None:
                        seen(operation, StepResult(host.commit, step.name, None, ()))
                    waiting.append(operation)
                    continue
                result = self._result(step, None)
            if result.reply is not None or result.emissions or result.refusals:
                return operation, result
            if seen is not None:
                seen(operation, result)
            waiting.append(operation)

    def _first_of(self, waiting: deque[Operation]) -> Operation | None:
        is_runnable = self.is_runnable
        for place, one in enumerate(waiting):
            if is_runnable(one):
                del waiting[place]
                return one
        return None

    def run(self, operation: Operation) -> Reply:
        """Do all its steps with nobody in between; drops events and refusals. AssertionError under a lock.

        The same steps as `step` takes, at half the cost: replays and set-ups have no second caller.
        """
        assert not self._lock_holders and not operation.parked, "somebody else is under way"
        host, send = self.host, operation.steps.send
        host.current = operation.caller.domid
        if not operation.first_commit:
            operation.first_commit = host.commit + 1
        try:
            while True:
                host.commit += 1
                send(None)
        except StopIteration as finished:
            reply = self._finish(operation, finished.value, host.commit)
        host.emissions.clear()
        host.refusals.clear()
        if host.unpaused or host.gone:
            self._wake()
        if host.resumed:
            self._resume()
        return reply

    def _finish(self, operation: Operation, result: Result, commit: Commit) -> Reply:
        operation.pending = None
        operation.last_commit = commit
        reply = operation.reply = Reply(result.ret, operation.first_commit, commit, result.value)
        return reply

    def _wake(self) -> None:
        """Callers of unpaused domains move again; those of domains that left never do."""
        still: list[Operation] = []
        for operation in self._parked:
            domid = operation.caller.domid
            if domid in self.host.unpaused:
                operation.parked = False
            elif operation.caller in self.host.gone:
                operation.abandoned = True
            else:
                still.append(operation)
        self._parked = still
        for operation in [one for one in self._asleep if one.caller in self.host.gone]:
            operation.abandoned = True
            self._asleep.remove(operation)
        self.host.unpaused.clear()
        self.host.gone.clear()

    def _fall_asleep(self, operation: Operation) -> None:
        """The vcpu was paused in a fault (S10): it does not move until a helper or its domain's end."""
        operation.parked = True
        self._asleep.append(operation)

    def _resume(self) -> None:
        """Vcpus that a fault had paused run again, now that the helper has answered (S10).

        Not those of a domain that another vcpu has crashed meanwhile: none of them ever runs again.
        """
        found = [self.host.find(domid) for domid in self.host.resumed]
        alive = [domain.domid for domain in found if domain is not None and not domain.is_shut_down]
        for operation in [one for one in self._asleep if one.caller.domid in alive]:
            operation.parked = False
            self._asleep.remove(operation)
        self.host.resumed.clear()


def run_alone(machine: Machine, caller: Caller, request: Request) -> Reply:
    """Carry a request out with nobody else moving in between. AssertionError if it cannot finish."""
    return machine.run(machine.submit(caller, request))
