"""What every toolstack does with an order: create, admit, build, roll back, report, destroy (L2, A31).

The scheme decides; everything else is the same for all of them, so that they differ in policy only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import msgspec

from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    Created,
    CreateDomain,
    DestroyDomain,
    MaxMem,
    SetPagingMempoolSize,
    UnpauseDomain,
)
from hypervisor.public.errors import Errno, errno_name
from hypervisor.public.orders import (
    WAITED_FOR,
    DestroyOrder,
    Dismiss,
    Farewell,
    LaunchOrder,
    Outcome,
    Stage,
    ToToolstack,
)
from hypervisor.public.points import point
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_ANY, PAGE_SIZE, Commit, DomId, Pages, Seconds, pages_to_kib
from hypervisor.public.world import CancelledError, IndefiniteError, RefusedByWireError, Task, World
from hypervisor.public.xenstore import (
    StoreRemove,
    StoreWrite,
    domain_path,
    memory_target_path,
    static_max_path,
)
from toolstack.blame import raised
from toolstack.builder.build import Build, BuildFailedError, is_hvm
from toolstack.interface import CountingWorld, Launch, LaunchRefusedError, Scheme
from toolstack.need import max_mem_kib, paging_pool

Report = Callable[[Outcome], None]


class Service:
    """Serves orders with one scheme, `parallel` builds at once; further orders wait in line."""

    def __init__(
        self, world: World, scheme: Scheme, report: Report, *, parallel: int, pages_per_second: float
    ) -> None:
        self._world = world
        self._scheme = scheme
        self._report = report
        self._parallel = parallel
        self._pages_per_second = pages_per_second
        self._waiting: deque[LaunchOrder] = deque()
        self._building: dict[int, Task[None]] = {}
        self._destroying: dict[int, Task[None]] = {}
        self._leftovers: list[str] = []
        self._dismissed = False
        self._daemon_world = CountingWorld(world)
        self._daemon = world.spawn(self._serve_scheme(), "scheme")
        self._end: Task[None] | None = None

    def take(self, message: ToToolstack) -> None:
        """An order has arrived. Returns at once."""
        match message:
            case LaunchOrder():
                self._waiting.append(message)
                self._begin_waiting()
            case DestroyOrder():
                body = self._destroy_built(message)
                self._destroying[message.order] = self._world.spawn(body, f"destroy {message.order}")
            case Dismiss():
                self._dismissed = True
                self._waiting.clear()
                for task in self._building.values():
                    task.cancel()
                self._end = self._end or self._world.spawn(self._wind_down(), "end")

    @property
    def finished(self) -> bool:
        """True after a Dismiss, once everything is put back."""
        return self._end is not None and self._end.done()

    def farewell(self) -> Farewell:
        """The last word."""
        notes = {"hypercalls beside the launches": self._daemon_world.hypercalls}
        try:
            notes |= msgspec.to_builtins(self._scheme.notes())
        except Exception as error:  # a plug-in may raise or return anything
            self._leftovers.append(f"the scheme's notes: {raised(error, __file__)}")
        return Farewell(tuple(self._leftovers), {name: told for name, told in notes.items() if told})

    async def _serve_scheme(self) -> None:
        try:
            await self._scheme.serve(self._daemon_world)
        except Exception as error:  # a plug-in may raise anything; the launches go on without its daemon
            self._leftovers.append(f"the scheme's daemon: {raised(error, __file__)}")

    async def _wind_down(self) -> None:
        """Launches first, then the daemon they may lean on."""
        while busy := [
            one for one in (*self._building.values(), *self._destroying.values()) if not one.done()
        ]:
            for task in busy:
                with suppress(CancelledError):
                    await task
        self._daemon.cancel()
        with suppress(CancelledError):
            await self._daemon

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._building) < self._parallel:
            order = self._waiting.popleft()
            self._building[order.order] = self._world.spawn(self._serve(order), f"launch {order.order}")

    async def _serve(self, order: LaunchOrder) -> None:
        launch = Launch(order, self._world)
        one = _OneLaunch(launch, self._scheme, self._report, self._leftovers, self._pages_per_second)
        try:
            await one.run()
        except CancelledError:
            pass  # dismissed: everything is put back by now
        finally:
            if not self._dismissed:
                del self._building[order.order]
                self._begin_waiting()

    async def _destroy_built(self, order: DestroyOrder) -> None:
        world = CountingWorld(self._world)
        if await removed(world, order.domid, self._leftovers):
            self._report(
                Outcome(order.order, Stage.DESTROYED, world.last_commit, world.now(), domid=order.domid)
            )


class _OneLaunch:
    """One launch from order to outcome. Raises nothing but the cancellation of a dismissal."""

    def __init__(
        self, launch: Launch, scheme: Scheme, tell: Report, leftovers: list[str], pages_per_second: float
    ) -> None:
        self._launch = launch
        self._world = launch.world
        self._scheme = scheme
        self._tell = tell
        self._leftovers = leftovers
        self._pages_per_second = pages_per_second
        self._build: Build | None = None
        self._releasing: Task[str] | None = None
        self._secret = b""
        self._waiting_for: tuple[str, Seconds] | None = None  # part of the scheme, and since when

    async def run(self) -> None:
        """Serve the order; whatever goes wrong, put everything back before saying so."""
        try:
            await self._attempt()
        except (LaunchRefusedError, BuildFailedError) as no:
            await self._fail(no.commit or self._world.last_commit, str(no))
        except CancelledError:
            known, reason = self._world.now(), self._cut_short()
            await self._undone()
            self._say(Stage.DISMISSED, self._world.last_commit, reason, known)
            raise
        except Exception as error:  # a plug-in may raise anything; the other launches go on
            await self._fail(self._world.last_commit, raised(error, __file__))

    def _cut_short(self) -> str:
        """Where it stood when it was dismissed: a scheme that never answers is named by this."""
        if self._waiting_for is None:
            return "dismissed while it was being built"
        part, since = self._waiting_for
        return f"{WAITED_FOR} {part} of the scheme, for {self._world.now() - since:.1f} s"

    async def _fail(self, commit: Commit, reason: str) -> None:
        """Nobody was promised anything before the admission, so until then it is a refusal."""
        stage = Stage.FAILED if self._launch.admitted else Stage.REFUSED
        known = self._world.now()
        await self._undone()
        self._say(stage, commit, reason, known)

    async def _attempt(self) -> None:
        launch = self._launch
        if await self._decided("admit_before_create", self._scheme.admit_before_create(launch)):
            self._admit()
        await self._create()
        await point(self._world, "created")
        self._build = Build(
            launch.domid, launch.order.builder, launch.pages, max_pages=launch.order.max_pages
        )
        await self._build.run(self._world, self._pages_per_second, self._admit_at_claim, self._note_progress)
        launch.built = True
        await point(self._world, "populated-all")
        fault = await self._release()
        if fault:
            raise LaunchRefusedError(fault, self._world.last_commit)
        await self._announce()
        await self._must(UnpauseDomain(launch.domid))
        self._say(Stage.BUILT, self._world.last_commit)

    def _note_progress(self, populated: Pages) -> None:
        self._launch.populated = populated

    async def _admit_at_claim(self, pages: Pages) -> None:
        if not self._launch.admitted:
            await self._decided("admit_at_claim", self._scheme.admit_at_claim(self._launch, pages))
            self._admit()

    def _admit(self) -> None:
        self._launch.admitted = True
        # A scheme with books of its own decides without a hypercall: its answer rests on its last reading.
        self._say(Stage.ADMITTED, self._world.last_commit or self._launch.sampled)

    async def _create(self) -> None:
        """createdomain -> max_mem -> paging pool, as libxl does (L2)."""
        launch = self._launch
        # In a task of its own: were it cancelled with this one, there would be a domain nobody knows of.
        creating = self._world.spawn(self._create_domain(), "create")
        try:
            fault = await creating
        except CancelledError:
            await creating
            raise
        if fault is not None:
            raise fault
        await self._must(MaxMem(launch.domid, max_mem_kib(launch.order.max_pages)))
        if is_hvm(launch.order.builder):
            pool = paging_pool(launch.order.max_pages, launch.order.vcpus)
            await self._must(SetPagingMempoolSize(launch.domid, pool * PAGE_SIZE))

    async def _create_domain(self) -> Exception | None:
        """What to raise; None when the domain is there."""
        launch = self._launch
        flags = CDF_HVM | CDF_HAP if is_hvm(launch.order.builder) else 0
        try:
            created = (await self._must(CreateDomain(DOMID_ANY, flags, launch.order.vcpus))).value
        except (LaunchRefusedError, IndefiniteError, RefusedByWireError) as error:
            return error
        assert isinstance(created, Created)
        launch.domid, launch.incarnation, self._secret = created.domid, created.incarnation, created.secret
        return None

    async def _announce(self) -> None:
        """The nodes a guest's balloon driver looks for (G7), KiB, and its name."""
        domid, order = self._launch.domid, self._launch.order
        await self._must(StoreWrite(f"{domain_path(domid)}/name", f"launch-{order.order}"))
        await self._must(StoreWrite(static_max_path(domid), str(pages_to_kib(order.max_pages))))
        await self._must(StoreWrite(memory_target_path(domid), str(pages_to_kib(order.pages))))

    async def _must(self, request: Request) -> Reply:
        reply = await self._world.hypercall(request)
        if reply.ret < 0:
            raise LaunchRefusedError(f"{errno_name(reply.ret)} from {type(request).__name__}", reply.last)
        return reply

    async def _undone(self) -> None:
        """Put everything back, to the end also when this launch is cancelled meanwhile."""
        undoing = self._world.spawn(self._undo(), "undo")
        try:
            await undoing
        except CancelledError:
            await undoing

    async def _undo(self) -> None:
        """Claim or clamp first, then the domain: other guests get their memory back as soon as may be."""
        self._launch.built = False
        fault = await self._release()
        if fault:
            self._leftovers.append(f"order {self._launch.order.order}: the scheme's release: {fault}")
        if self._launch.domid >= 0:
            await removed(self._world, self._launch.domid, self._leftovers)

    async def _release(self) -> str:
        """Once, and to its end also when this launch is cancelled meanwhile; what it raised, or ""."""
        if self._releasing is None:
            self._releasing = self._world.spawn(self._guarded_release(), "release")
        return await self._releasing

    async def _guarded_release(self) -> str:
        try:
            await self._counted("release", self._scheme.release(self._launch))
        except Exception as error:  # a plug-in may raise anything
            return raised(error, __file__)
        return ""

    async def _decided(self, part: str, body: object) -> bool:
        """A part of the decision, which begins with its first sample. TypeError for a plug-in's nonsense."""
        launch, world = self._launch, self._world
        world.first_commit = 0
        self._waiting_for = (part, world.now())
        try:
            answer = await self._counted(part, body)
        finally:
            launch.sampled = launch.sampled or world.first_commit
        self._waiting_for = None
        if answer not in (True, False, None):
            raise TypeError(f"{part} answered {answer!r}: True admits, False or None does not yet")
        return bool(answer)

    async def _counted(self, part: str, body: object) -> object:
        if not isinstance(body, Awaitable):
            raise TypeError(f"{part} answered {body!r} at once: write it as async def")
        before = self._world.hypercalls
        try:
            return await cast("Awaitable[object]", body)
        finally:
            self._launch.admission_hypercalls += self._world.hypercalls - before

    def _say(self, stage: Stage, commit: Commit, reason: str = "", known: Seconds | None = None) -> None:
        launch, build = self._launch, self._build
        built = stage == Stage.BUILT and build is not None
        self._tell(
            Outcome(
                order=launch.order.order,
                stage=stage,
                commit=commit,
                time=self._world.now() if known is None else known,
                reason=reason,
                domid=launch.domid,
                incarnation=launch.incarnation,
                secret=self._secret if built else b"",
                frames=build.frames if built and build is not None else (),
                pages_populated=0 if build is None else build.populated,
                hypercalls=self._world.hypercalls,
                admission_hypercalls=launch.admission_hypercalls,
                sampled=launch.sampled,
            )
        )


async def destroy(world: World | CountingWorld, domid: DomId) -> None:
    """Destroy to the end, calling again while a 4.3 answers EAGAIN, as libxc does (C31)."""
    while (await world.hypercall(DestroyDomain(domid))).ret == -Errno.EAGAIN:
        pass


async def removed(world: World | CountingWorld, domid: DomId, leftovers: list[str]) -> bool:
    """Destroy to the end, and clear its xenstore home.

    False, and a line in `leftovers`, when the hypervisor cannot be asked.
    """
    try:
        await destroy(world, domid)
        await world.hypercall(StoreRemove(domain_path(domid)))
    except (IndefiniteError, RefusedByWireError) as error:
        leftovers.append(f"domain {domid}: not destroyed for sure: {error}")
        return False
    return True
