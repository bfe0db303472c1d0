"""The simulator: coroutines and the machine in one thread, in virtual time, with a chosen interleaving.

No clock, no socket, no randomness of its own: the same parties, seeds and choices give the same run.
Between any two atomic steps every coroutine that can move has moved, as if all had a processor each.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from hypervisor.core.machine import Machine, Operation, StepResult
from hypervisor.core.sources import Refusal
from hypervisor.core.steps import Caller, Emission, Step
from hypervisor.public.errors import WireError
from hypervisor.public.requests import Reply, Request, VirqEvent
from hypervisor.public.units import VIRQ_DOM_EXC, DomId, Seconds
from hypervisor.public.world import IndefiniteError, RefusedByWireError, WorldCoroutine
from hypervisor.session.world import HistorySink
from hypervisor.tasks import Loop, Task
from launch.simulate.calls import OfWire, SimCall
from launch.simulate.liveness import is_alive
from launch.simulate.sim_world import SimWorld

T = TypeVar("T")

Choose = Callable[[Sequence[Operation]], int]
"""Which of the runnable operations takes the next step: an index. They come longest waiting first."""
Observe = Callable[[Operation, StepResult], None]


class Simulator:
    """Owns the loop, the time and whose step is next."""

    def __init__(
        self,
        machine: Machine,
        *,
        choose: Choose | None = None,
        link_delay: Seconds = 0.0,
        observe: Observe | None = None,
        history: HistorySink | None = None,
        watch: Callable[[], None] | None = None,
        batch: bool = False,
    ) -> None:
        """Without `choose` the runnable operations take turns. `link_delay` is one way, both ways alike.

        `observe` is told of every atomic step, as a journal is; `watch` is called after each, or after many
        in a batch, when all that is under way is known again. `batch` takes the steps that nobody can come
        between in one go, and looks at `run`'s stop after them: the same run, sooner.
        """
        self.machine = machine
        self.loop = Loop()
        self.now: Seconds = 0.0
        self.steps = 0
        """Atomic steps done so far."""
        self.refused: Counter[Refusal] = Counter()
        """Allocations refused so far."""
        self.link_delay = link_delay
        self._choose = choose
        self._watch = watch
        self._batch = batch and choose is None
        self._observe = observe
        self._history = history
        self._waiting: deque[Operation] = deque()  # longest waiting first
        self._calls: dict[int, SimCall | OfWire] = {}  # by operation number
        self._worlds: dict[Caller, SimWorld] = {}
        self.stopped = False
        """SIGSTOP of the hypervisor: what arrives waits."""

    # ---- parties

    def world(self, domid: DomId, incarnation: int, rng: random.Random) -> SimWorld:
        """A world for a guest, or with domid 0 for a toolstack (`incarnation` then names it)."""
        caller = Caller(domid, incarnation)
        world = SimWorld(self, caller, rng)
        self._worlds[caller] = world
        return world

    def start(self, main: WorldCoroutine, world: SimWorld, name: str) -> Task[None]:
        """Run a party's main coroutine in its world."""
        return world.spawn(main(world), name)

    def failed(self) -> SimWorld | None:
        """The party whose exception left `run` last."""
        task = self.loop.failed
        return next((world for world in self._worlds.values() if world.owns(task)), None)

    def kill(self, world: SimWorld) -> None:
        """SIGKILL: no task of that party moves again. What it asked for still happens."""
        self._worlds.pop(world.caller, None)
        world.kill()

    # ---- time

    def run(self, until: Seconds | None = None, stop: Callable[[], bool] | None = None) -> None:
        """Run to the emulated time `until`, or while anything can move, or until `stop()` says so.

        Raises what a task raised that nobody awaits; the run can be continued afterwards.
        """
        while not (stop is not None and stop()):
            self.loop.run_ready(self.now)
            if not self.stopped and (self._step_together() if self._batch else self.step()):
                continue
            if stop is not None and stop():
                return  # before time goes on
            if not self._advance(until):
                return

    def _advance(self, until: Seconds | None) -> bool:
        """Go on to the next timer; False when there is none before `until`."""
        when = self.loop.next_timer()
        if when is None or (until is not None and when > until):
            self.now = self.now if until is None else max(self.now, until)
            return False
        self.now = max(self.now, when)
        return True

    def runnable(self) -> list[Operation]:
        """Operations that could take a step now, longest waiting first."""
        return [operation for operation in self._waiting if self.machine.is_runnable(operation)]

    def is_busy(self) -> bool:
        """True while something can happen without time going on."""
        return self.loop.is_ready() or (not self.stopped and bool(self.runnable()))

    def stuck(self) -> list[Operation]:
        """Operations that cannot: parked, or waiting for a lock."""
        return [operation for operation in self._waiting if not self.machine.is_runnable(operation)]

    def pending(self) -> list[Step]:
        """What the requests under way will do next."""
        return [one.pending for one in self._waiting if one.pending is not None]

    def step(self) -> bool:
        """Let one operation take one atomic step; False when none can."""
        operation = self._next_operation()
        if operation is None:
            return False
        result = self.machine.step(operation)
        self.steps += 1
        if self._observe is not None:
            self._observe(operation, result)
        self._stepped(operation, result)
        return True

    def _step_together(self) -> bool:
        """Steps that nobody can come between: all until the next event or reply. False when none can move."""
        when = self.loop.next_timer()
        if when is not None and when <= self.now:
            return self.step()
        host = self.machine.host
        before = host.commit
        taken = self.machine.take_turns(self._waiting, self._observe)
        self.steps += host.commit - before
        if taken is None:
            return False
        if self._observe is not None:
            self._observe(*taken)
        self._stepped(*taken)
        return True

    def _stepped(self, operation: Operation, result: StepResult) -> None:
        if result.reply is None:
            self._waiting.append(operation)
        else:
            call = self._calls.pop(operation.number)
            if isinstance(call, SimCall):
                self._replied(call, result.reply)
            else:
                call[0](result.reply)
        if result.refusals:
            self.refused.update(result.refusals)
        if result.emissions:
            self._emit(result.emissions)
        if self._watch is not None:
            self._watch()

    def _next_operation(self) -> Operation | None:
        if self._choose is None:
            waiting, is_runnable = self._waiting, self.machine.is_runnable
            if waiting and is_runnable(waiting[0]):  # nearly always
                return waiting.popleft()
            chosen = next((one for one in waiting if is_runnable(one)), None)
        else:
            runnable = self.runnable()
            chosen = runnable[self._choose(runnable)] if runnable else None
        if chosen is not None:
            self._waiting.remove(chosen)
        return chosen

    # ---- calls

    def after_link(self, callback: Callable[[], None]) -> None:
        """Run `callback` once the message has crossed the link."""
        if self.link_delay:
            self.loop.call_at(self.now + self.link_delay, callback)
        else:
            callback()

    def begin(self, call: SimCall) -> None:
        """Take a call off the link."""
        if self._history is not None:
            caller = call.world.caller
            self._history.invoked(caller.domid, caller.incarnation, call.seq, call.requests)
        if call.world.wire is not None:
            call.world.wire.send(call)
        elif self.link_delay:
            self.after_link(partial(self._submit, call))
        else:
            self._submit(call)

    def submit(self, caller: Caller, request: Request, underway: OfWire) -> None:
        """Hand a request that a wire brought to the machine."""
        operation = self.machine.submit(caller, request)
        self._calls[operation.number] = underway
        self._waiting.append(operation)

    def _submit(self, call: SimCall) -> None:
        done, caller = len(call.replies), call.world.caller
        if done == len(call.requests):
            self._finish(call)
        elif not is_alive(self.machine, caller):
            self._refuse(call, "the domain is dying or dead")
        else:
            operation = self.machine.submit(caller, call.requests[done])
            self._calls[operation.number] = call
            self._waiting.append(operation)

    def _replied(self, call: SimCall, reply: Reply) -> None:
        call.replies.append(reply)
        if len(call.replies) < len(call.requests):
            self._submit(call)
        elif self.link_delay or not call.world.listens:
            self._finish(call)
        elif call.single and self._history is None:
            call.future.set_result(reply)  # `delivered` in short
        else:
            self.delivered(call, None)

    def _finish(self, call: SimCall) -> None:
        self.after_link(partial(self._deliver, call, None))

    def _refuse(self, call: SimCall, text: str) -> None:
        self.after_link(lambda: self._deliver(call, RefusedByWireError(WireError.DOMAIN_GONE.value, text)))

    def _deliver(self, call: SimCall, error: RefusedByWireError | None) -> None:
        if call.world.listens:
            self.delivered(call, error)
        else:
            call.world.arrive(partial(self.delivered, call, error))

    def delivered(self, call: SimCall, error: RefusedByWireError | IndefiniteError | None) -> None:
        """The party knows how its call ended: with its replies, or not."""
        replies = tuple(call.replies)
        if self._history is not None:
            caller = call.world.caller
            refused = error.error if isinstance(error, RefusedByWireError) else ""
            outcome = replies if error is None else refused
            self._history.returned(caller.domid, caller.incarnation, call.seq, outcome)
        if error is not None:
            call.future.set_exception(error)
        else:
            call.future.set_result(replies[0] if call.single else replies)

    # ---- events

    def _emit(self, emissions: Iterable[Emission]) -> None:
        for emission in emissions:
            for world in self._hearers(emission):
                self.after_link(partial(world.notify, emission.event))
            if isinstance(emission.event, VirqEvent) and emission.event.virq == VIRQ_DOM_EXC:
                self._refuse_the_abandoned()

    def _hearers(self, emission: Emission) -> list[SimWorld]:
        if emission.to is not None:
            world = self._worlds.get(emission.to)
            return [] if world is None else [world]
        event = emission.event
        virq = event.virq if isinstance(event, VirqEvent) else -1
        return [world for world in self._worlds.values() if virq in world.virqs]

    def _refuse_the_abandoned(self) -> None:
        """Calls parked by a pause that their domain did not outlive get no reply from the machine."""
        for operation in [one for one in self._waiting if one.abandoned]:
            self._waiting.remove(operation)
            call = self._calls.pop(operation.number)
            if isinstance(call, SimCall):
                self._refuse(call, "the domain died before its call was answered")
            else:
                call[1]()
        for world in self._worlds.values():
            if world.wire is not None:
                world.wire.domain_died()
