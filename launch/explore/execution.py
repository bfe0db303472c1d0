"""One schedule of a small world, move by move: who may move now, and what a move does.

An executor of its own beside launch/simulate, because a search asks at every step who could move and what
that would touch, and begins anew a thousand times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop
from typing import Final

from msgspec import Struct

from hypervisor.core.claims import unclaimed_pages
from hypervisor.core.machine import Machine, Operation
from hypervisor.core.steps import Caller, Emission, Step
from hypervisor.public.errors import WireError
from hypervisor.public.memory import IncreaseReservation, PopulatePhysmap
from hypervisor.public.requests import Reply, Request, VirqEvent
from hypervisor.public.units import DOMID_DOM0, DOMID_SELF, VIRQ_DOM_EXC, Commit
from hypervisor.public.world import RefusedByWireError
from hypervisor.tasks import Loop, Task
from launch.check.books import Books
from launch.errors import UsageError
from launch.explore.blueprint import Blueprint
from launch.explore.footprint import NOTHING, Footprints
from launch.explore.moves import Move
from launch.explore.party_world import Call, PartyWorld
from launch.explore.scene import Scene
from launch.explore.schedule import Kept
from launch.explore.small_world import FOR_EVER, Act, Party
from launch.simulate.liveness import is_alive

ASK_EVERY: Final = 256
"""Moves between two looks at what is left of the budget."""


class Record(Struct, frozen=True, eq=False):
    """One move that was made."""

    move: Move
    commit: Commit
    """0 for an event or a timer, which the core does not see."""
    step: str
    request: Request | None
    reply: Reply | None
    """Set by a request's last step."""
    violations: int
    """How many violations there were after it."""


Choose = Callable[[Sequence[Move]], Move]


class Execution:
    """A world from its set-up to the end of one schedule."""

    def __init__(self, blueprint: Blueprint, footprints: Footprints, kept: Kept | None = None) -> None:
        """`kept` None: all acts of all parties."""
        host, facts = blueprint.copy()
        self.machine = Machine(host)
        self.scene = Scene(host, facts, blueprint.setting.scheme, self._unclaimed)
        self.records: list[Record] = []
        self.cut = False
        """True when it was not over after `SmallWorld.most_steps` moves."""
        self._world = blueprint.world
        self._footprints = footprints
        self._loop = Loop()
        self._calls: dict[int, Call] = {}  # by operation number
        self._unborn: list[Call] = []  # of domains that do not exist yet
        self._worlds: list[PartyWorld] = []
        self._acting: list[tuple[PartyWorld, Task[None]]] = []
        self._books = Books(host, self._pending)
        parties = self._world.parties(self.scene)
        self.names = tuple(party.name for party in parties)
        self.acts = tuple(len(party.acts) for party in parties)
        self._begin_parties(parties, kept)

    # ---- the beginning

    def _begin_parties(self, parties: Sequence[Party], kept: Kept | None) -> None:
        for index, party in enumerate(parties):
            world = PartyWorld(index, party.name, self._caller(index, party), self._loop, self._submit)
            self._worlds.append(world)
            self._finish_first(self._act(world, party.before), party.name)
        self._forget_the_beginning()
        for index, party in enumerate(parties):
            acts = tuple(
                act for number, act in enumerate(party.acts) if kept is None or (index, number) in kept
            )
            task = self._loop.spawn(self._act(self._worlds[index], acts), party.name)
            if party.domid == DOMID_DOM0:  # a guest that was paused need not end
                self._acting.append((self._worlds[index], task))
        self._settle()

    def _caller(self, index: int, party: Party) -> Caller:
        if party.incarnation is not None:
            return Caller(party.domid, party.incarnation)
        own = party.domid != DOMID_DOM0
        return Caller(party.domid, self.scene.host.domains[party.domid].incarnation if own else index + 1)

    def _forget_the_beginning(self) -> None:
        """What was noted or done before the exploration is no outcome of it; a violation would be."""
        self.scene.notes.clear()
        self.scene.outcomes.clear()
        self.scene.before = self.scene.host.commit
        self.records.clear()

    def _finish_first(self, body: object, name: str) -> None:
        task: Task[None] = self._loop.spawn(body, name)  # type: ignore[arg-type]
        self._settle()
        while not task.done():
            moves = self.enabled()
            if not moves or len(self.records) >= self._world.most_steps:
                why = "waits for ever" if not moves else f"goes on after {self._world.most_steps:,} moves"
                raise UsageError(
                    f"{self._world.name}: {name} {why} before the exploration begins: try another scheme"
                )
            self.take(moves[0])

    async def _act(self, world: PartyWorld, acts: tuple[Act, ...]) -> None:
        try:
            for act in acts:
                await act(world, self.scene)
        except RefusedByWireError:
            pass  # its domain is gone, and it with it

    # ---- who may move

    def enabled(self) -> list[Move]:
        """Every move that could come next, party by party."""
        moves: list[Move] = []
        for world in self._worlds:
            nth = 0
            for number, call in world.calls.items():
                operation = call.operation
                if operation is not None and self.machine.is_runnable(operation):
                    assert operation.pending is not None
                    footprint = self._footprints.of(operation.pending, world.domid, self.scene.host)
                    moves.append(Move(world.index, (world.index, number), "call", footprint, nth, call))
                    nth += 1
            if world.inbox:
                moves.append(Move(world.index, (world.index, world.inbox[0][0]), "event", NOTHING, nth))
                nth += 1
            if world.timers and world.timers[0][0] <= self._world.until:
                moves.append(Move(world.index, (world.index, world.timers[0][1]), "timer", NOTHING, nth))
        return moves

    def _pending(self) -> Iterator[Step]:
        for call in self._calls.values():
            if call.operation is not None and call.operation.pending is not None:
                yield call.operation.pending

    # ---- one move

    def take(self, move: Move) -> None:
        """Make it, and let everybody whom it woke go on to his next request."""
        world = self._worlds[move.party]
        if move.kind == "call":
            assert move.call is not None
            self._step(move, move.call)
        else:
            if move.kind == "event":
                world.arrive()
            else:
                self._ring(world)
            self.records.append(Record(move, 0, move.kind, None, None, len(self.scene.violations)))
        self._settle()

    def _step(self, move: Move, call: Call) -> None:
        operation, scene = call.operation, self.scene
        assert operation is not None and operation.pending is not None
        step = operation.pending
        result = self.machine.step(operation)
        for broken in self._books.after(step):
            scene.violate(f"{broken.invariant} {broken.form}".strip(), broken.detail)
        if result.reply is not None:
            if call.world.domid == DOMID_DOM0:
                scene.unclaimed_at[result.commit] = self._unclaimed()
                scene.saw(result.reply.value)
            if step.name == "create":
                self._let_in()
            self._replied(call, operation, result.reply)
        if result.emissions:
            self._emit(result.emissions)
        self._world.after_step(scene)
        self.records.append(
            Record(move, result.commit, step.name, operation.request, result.reply, len(scene.violations))
        )

    def _settle(self) -> None:
        """Run every coroutine that can; a timer that nothing can overtake rings at once."""
        self._loop.run_ready(0.0)
        moved = True
        while moved:
            moved = False
            for world in self._worlds:
                alone = not world.calls and not world.inbox and not world.hears
                if alone and world.timers and world.timers[0][0] <= self._world.until:
                    self._ring(world)
                    self._loop.run_ready(0.0)
                    moved = True

    def _ring(self, world: PartyWorld) -> None:
        due, _, future = heappop(world.timers)
        world.clock = max(world.clock, due)
        future.set_result(None)

    # ---- calls

    def _submit(self, call: Call) -> None:
        if not is_alive(self.machine, call.world.caller):
            if call.world.caller.incarnation >= self.scene.host.next_incarnation:
                self._unborn.append(call)
                return
            self._refuse(call, "the domain is dying or dead")
            return
        request = call.requests[len(call.replies)]
        call.operation = self.machine.submit(call.world.caller, request)
        self._calls[call.operation.number] = call

    def _let_in(self) -> None:
        """A domain has come to be: whoever speaks for it need not wait any more."""
        waiting, self._unborn = self._unborn, []
        for call in waiting:
            self._submit(call)

    def _replied(self, call: Call, operation: Operation, reply: Reply) -> None:
        del self._calls[operation.number]
        call.replies.append(reply)
        if len(call.replies) < len(call.requests):
            self._submit(call)
            return
        del call.world.calls[call.number]
        call.future.set_result(reply if call.single else tuple(call.replies))

    def _refuse(self, call: Call, text: str) -> None:
        del call.world.calls[call.number]
        call.future.set_exception(RefusedByWireError(WireError.DOMAIN_GONE.value, text))

    def _emit(self, emissions: Iterable[Emission]) -> None:
        for emission in emissions:
            event = emission.event
            virq = event.virq if isinstance(event, VirqEvent) else -1
            for world in self._worlds:
                if world.caller == emission.to or (emission.to is None and virq in world.virqs):
                    world.send(event)
            if virq == VIRQ_DOM_EXC:
                for call in [
                    one for one in self._calls.values() if one.operation and one.operation.abandoned
                ]:
                    assert call.operation is not None
                    del self._calls[call.operation.number]
                    self._refuse(call, "the domain died before its call was answered")

    # ---- the whole

    def run(self, choose: Choose, stop_at_violation: bool, spent: Callable[[], bool] = lambda: False) -> bool:
        """Let `choose` pick move after move until nobody can move, or something is violated.

        `spent` is asked now and then; False when it said that there is no time for the rest.
        """
        scene = self.scene
        while not (stop_at_violation and scene.violations):
            moves = self.enabled()
            if not moves:
                self._look_for_waiting()
                self._world.at_end(scene)
                break
            if len(self.records) >= self._world.most_steps:
                self.cut = True
                break
            if len(self.records) % ASK_EVERY == ASK_EVERY - 1 and spent():
                return False
            self.take(choose(moves))
        return True

    def _look_for_waiting(self) -> None:
        """What somebody in dom0 still waits for never comes, unless his clock was stopped early."""
        for world, task in self._acting if self._world.closed else ():
            if not task.done() and (not world.timers or self._world.until >= FOR_EVER):
                text = f"{world.name} still waits, and nobody can move any more"
                self.scene.violate("never ended", text)

    def outcome(self) -> str:
        """The class of its end."""
        return self._world.outcome(self.scene)

    def _unclaimed(self) -> int:
        """See `Scene.unclaimed`: claims that extents in flight are about to draw down count as drawn."""
        host = self.scene.host
        pages = unclaimed_pages(host)
        if not host.in_flight_pages or host.release.claim_consumed_at_alloc:
            return pages
        drawn: dict[int, int] = {}
        for call in self._calls.values():
            operation = call.operation
            if operation is None or operation.pending is None or operation.pending.name != "assign":
                continue
            request = operation.request
            if isinstance(request, PopulatePhysmap | IncreaseReservation):
                domid = operation.caller.domid if request.domid == DOMID_SELF else request.domid
                drawn[domid] = drawn.get(domid, 0) + (1 << request.extent_order)
        claims = {domain.domid: domain.outstanding_pages for domain in host.domains.values()}
        return pages + sum(min(claims.get(one, 0), extent) for one, extent in drawn.items())
