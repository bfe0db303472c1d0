"""A guest's way to tmem: its operations in the order in which its kernel meant them, batched."""

from collections import deque
from collections.abc import Callable

from guests.kernel.hypercalls import Hypercalls
from guests.kernel.work import Guard
from hypervisor.public.requests import Reply
from hypervisor.public.tmem import TmemOp
from hypervisor.public.world import Task, World

Replied = Callable[[Reply], None]


class TmemQueue:
    """First in, first out, one message under way: a get never overtakes the put of the same page.

    Linux calls tmem under the page's lock, one call at a time. Whoever must not go on before its puts are
    done (the balloon, a reader) awaits `drained`.
    """

    def __init__(self, world: World, calls: Hypercalls, guard: Guard) -> None:
        """`calls` should have one call in flight, or the order is lost; `guard` sees to what ends a guest."""
        self._world = world
        self._calls = calls
        self._guard = guard
        self._waiting: deque[tuple[TmemOp, Replied]] = deque()
        self._task: Task[None] | None = None
        self._broken = False

    def add(self, request: TmemOp, replied: Replied) -> None:
        """Queue an operation; `replied` is told of its reply. Nothing is sent before `pump` or `drained`."""
        self._waiting.append((request, replied))

    def pump(self) -> None:
        """See that what is queued gets sent, without waiting for it."""
        if self._waiting and not self._broken and (self._task is None or self._task.done()):
            self._task = self._world.spawn(self._guard(self._send), "tmem")

    async def drained(self) -> None:
        """Until everything queued has its reply, or the guest has come to its end."""
        self.pump()
        while self._task is not None and not self._task.done():
            await self._task
            self.pump()

    async def ask(self, request: TmemOp) -> Reply:
        """One operation out of turn, before any other is queued."""
        return (await self._calls.issue([request]))[0]

    def stop(self) -> None:
        """Send nothing more."""
        self._broken = True
        if self._task is not None:
            self._task.cancel()

    async def _send(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._calls.most)
                batch = [self._waiting.popleft() for _ in range(count)]
                replies = await self._calls.issue([request for request, _ in batch])
                for (_, replied), reply in zip(batch, replies, strict=True):
                    replied(reply)
        except BaseException:
            self._broken = True
            raise
