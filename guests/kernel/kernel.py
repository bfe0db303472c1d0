"""A guest's kernel: what runs inside a domain, as coroutines over a `World`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import asdict

from guests.behaviours import BehaviourFactory, make_behaviour
from guests.config import GuestConfig
from guests.factory import make_workload
from guests.kernel.balloon import BalloonDriver
from guests.kernel.errors import KernelBugError
from guests.kernel.first_touches import FirstTouches
from guests.kernel.frames import PageNames
from guests.kernel.hypercalls import Hypercalls
from guests.kernel.idle import Nap, is_steady
from guests.kernel.memory import GuestMemory
from guests.kernel.paging import Paging
from guests.kernel.programs import Programs
from guests.kernel.schedule import RetrySchedule
from guests.kernel.selfballoon_worker import SelfBalloonWorker
from guests.kernel.shared_writes import SharedWrites
from guests.kernel.target_watch import TargetWatch
from guests.kernel.work import Body
from guests.report import CONNECTION_LOST, DOMAIN_GONE, RUNNING, STOPPED, Counters, GuestReport
from guests.sizing import FollowDemand, FollowToolstack, Sizing
from hypervisor.public.errors import WireError
from hypervisor.public.units import Pages, runs_length
from hypervisor.public.world import CancelledError, IndefiniteError, RefusedByWireError, Task, World

GONE: Final = frozenset({WireError.DOMAIN_GONE.value, WireError.STALE_INCARNATION.value})
"""Refusals that say the domain is no more: its guest ends quietly."""


class GuestKernel:
    """One guest from boot to its end. Make one, then run `run()` as a task of its world.

    `sizing` replaces the self-sizing that the configuration asks for; `behaviours` adds behaviours to the
    known ones. Raises `GuestConfigError` or `TraceError` for a configuration that cannot be.
    """

    def __init__(
        self,
        world: World,
        config: GuestConfig,
        *,
        sizing: Sizing | None = None,
        behaviours: Mapping[str, BehaviourFactory] = MappingProxyType({}),
    ) -> None:
        self._world = world
        self._config = config
        self._started = max(0.0, world.now())
        self._ended = self._started
        self._ending = RUNNING
        self._tick_task: Task[None] | None = None
        self._others: list[Task[None]] = []
        self._counters = Counters()
        self._sizing = sizing or _sizing(config)
        self._programs = Programs(
            make_workload(config.workload, config.seed), config.processes, config.oom_restart, self._started
        )
        names = PageNames(config.kind, config.frames, config.static_max)
        self._paging = Paging(world, config, names, self._counters, self._guarded)
        self._memory = self._paging.memory
        calls = Hypercalls(world, self._counters, config.in_flight, config.batch)
        self._balloon = BalloonDriver(
            world,
            calls,
            names,
            self._memory,
            make_behaviour(config.behaviour, config.behaviour_options, behaviours),
            self._counters,
            RetrySchedule(config.max_retry_count),
            self._guarded,
            inflate_to_available=config.inflate_to_available,
            reclaimed=self._paging.reclaimed,
        )
        self._nap = Nap(world)
        self._balloon.when_settled(self._settle)
        self._selfballoon: SelfBalloonWorker | None = None
        if config.selfballoon is not None and sizing is None:
            self._selfballoon = SelfBalloonWorker(
                world, config.selfballoon, config.static_max, self._memory, self._balloon, self._paging
            )
        self._writes = SharedWrites(
            world, calls, config.shared, config.shared_writes, config.tick, self._counters
        )
        self._touches = FirstTouches(world, calls, config, self._memory)
        self._watch = TargetWatch(world, calls, config.kind, config.static_max, self._set_new_target)

    async def run(self) -> GuestReport:
        """Boot, live until stopped, destroyed or crashed, and report. Raises what it does not know."""
        self._tick_task = self._world.spawn(self._guarded(self._live), "programs")
        try:
            await self._tick_task
        except CancelledError:
            if self._ending == RUNNING:
                raise
        finally:
            self._nap.wake()
            self._balloon.stop()
            self._paging.stop()
            self._writes.stop()
            for task in self._others:
                task.cancel()
        return self.report()

    def stop(self) -> None:
        """End the guest from outside: `run` returns its report soon."""
        self._end(STOPPED)

    def report(self) -> GuestReport:
        """The figures up to now; a guest that still runs says so as its ending."""
        if self._ending == RUNNING:
            self._ended = self._world.now()
            self._memory.account(self._ended)
        return _report(
            self._config,
            self._counters,
            self._balloon,
            self._memory,
            self._ending,
            self._started,
            self._ended,
        )

    async def _live(self) -> None:
        await self._paging.boot()
        await self._watch.boot()
        while self._world.now() < 0:  # everybody is to begin at the same moment
            await self._world.sleep(-self._world.now())
        self._others.append(self._world.spawn(self._guarded(self._watch.follow), "xenstore"))
        self._others.append(self._world.spawn(self._guarded(self._writes.run), "shared writes"))
        if self._config.populate_on_demand:
            self._others.append(self._world.spawn(self._guarded(self._touches.run), "first touches"))
        self._paging.start()
        if self._selfballoon is not None:
            self._others.append(self._world.spawn(self._guarded(self._selfballoon.follow), "selfballoon"))
        while True:
            self._tick()
            await self._world.sleep(self._config.tick)
            if self._is_idle():
                await self._nap.take(self._config.tick)

    def _is_idle(self) -> bool:
        """Demand is met, the balloon has what it wants, and a tick would find nothing else to want."""
        memory, balloon = self._memory, self._balloon
        if not is_steady(self._config) or memory.unmet or memory.swapped or not balloon.at_rest:
            return False
        target = self._sizing.target(memory.wanted, balloon.current_pages)
        return target in (None, balloon.target_pages) and self._programs.all_running

    def _set_new_target(self, pages: Pages) -> None:
        self._nap.wake()
        self._balloon.set_new_target(pages)

    def _tick(self) -> None:
        """Look at demand, move the target, and swap only what the balloon is not about to bring."""
        now = self._world.now()
        self._memory.want(self._programs.demand(now), now)
        target = self._sizing.target(self._memory.wanted, self._balloon.current_pages)
        moving = self._balloon.look_again() if target is None else self._balloon.set_new_target(target)
        if not (moving or self._balloon.running):
            self._settle()
        else:
            self._paging.reclaim()

    def _settle(self) -> None:
        """Demand that free pages do not meet goes to swap; what swap does not hold, the OOM killer ends."""
        now = self._world.now()
        self._memory.want(self._programs.demand(now), now)
        self._memory.swap_unmet(now)
        while self._memory.unmet and self._programs.kill(now):
            self._counters.oom_kills += 1
            self._memory.want(self._programs.demand(now), now)
            self._memory.swap_unmet(now)
        self._paging.reclaim()

    async def _guarded(self, body: Body) -> None:
        """Run `body`; what can befall a guest ends it with its report, anything else is our own fault."""
        try:
            await body()
        except RefusedByWireError as refusal:
            if refusal.error in GONE:
                self._end(DOMAIN_GONE)
            elif refusal.error == WireError.SHUTTING_DOWN.value:
                self._end(CONNECTION_LOST)
            else:
                raise
        except IndefiniteError:
            # Whether the pages came nobody knows; a guest cannot go on with names it may not own.
            self._end(CONNECTION_LOST)
        except KernelBugError as bug:
            self._end(str(bug))

    def _end(self, ending: str) -> None:
        if self._ending != RUNNING:
            return
        self._ended = self._world.now()
        self._memory.account(self._ended)
        self._ending = ending
        if self._tick_task is not None:
            self._tick_task.cancel()


def _sizing(config: GuestConfig) -> Sizing:
    if config.self_sizing and config.selfballoon is None:
        return FollowDemand(config.headroom, config.floor, config.static_max)
    return FollowToolstack()


def _report(
    config: GuestConfig,
    counters: Counters,
    balloon: BalloonDriver,
    memory: GuestMemory,
    ending: str,
    started: float,
    ended: float,
) -> GuestReport:
    return GuestReport(
        domid=config.domid,
        incarnation=config.incarnation,
        kind=config.kind,
        behaviour=config.behaviour,
        ending=ending,
        started_s=float(started),
        ended_s=float(ended),
        initial_pages=runs_length(config.frames),
        current_pages=balloon.current_pages,
        target_pages=balloon.target_pages,
        lowest_pages=balloon.lowest_pages,
        highest_pages=balloon.highest_pages,
        demand_pages=memory.wanted,
        resident_pages=memory.resident,
        swapped_pages=memory.swapped,
        swap_times=memory.swap_times.intervals(),
        **asdict(counters),
    )
