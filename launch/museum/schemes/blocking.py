"""Qubes' one request at a time: whoever asks for memory holds the daemon until he hangs up (3265)."""

from __future__ import annotations

from contextlib import suppress

from hypervisor.public.requests import Event
from hypervisor.public.world import CancelledError, Task
from toolstack.interface import CountingWorld, Launch, LaunchRefusedError, Scheme, read_host


class Connection:
    """A socket that is closed when everybody who holds it has closed it."""

    def __init__(self, world: CountingWorld) -> None:
        self.holders = 1
        self._open: Task[Event] = world.spawn(_never(world), "connection")

    def close(self) -> None:
        """One holder less."""
        self.holders -= 1
        if not self.holders:
            self._open.cancel()

    async def closed(self) -> None:
        """Return when nobody holds it any more."""
        with suppress(CancelledError):
            await self._open


async def _never(world: CountingWorld) -> Event:
    """Nobody listens to anything, so no event arrives."""
    return await world.next_event()


class BlockedUntilStarted(Scheme):
    """The next launch is served when the domain of this one has started. Sockets are closed on exec."""

    def __init__(self, parameters: object) -> None:
        """It takes no parameters."""
        super().__init__({})
        self._connections: dict[int, Connection] = {}
        self._last: Connection | None = None

    async def admit_before_create(self, launch: Launch) -> bool:
        """In turn, then a look at free memory that nobody else can take meanwhile."""
        before, mine = self._last, Connection(launch.world)
        self._connections[launch.order.order] = self._last = mine
        if before is not None:
            await before.closed()
        host, commit = await read_host(launch.world)
        if host.free_pages < launch.need:
            raise LaunchRefusedError(f"{host.free_pages} pages free, {launch.need} needed", commit)
        return True

    async def release(self, launch: Launch) -> None:
        """The domain's own processes are started, then the launcher closes its end."""
        connection = self._connections.pop(launch.order.order)
        if launch.built:
            connection.holders += self._inherited()
        connection.close()

    def _inherited(self) -> int:
        return 0


class InheritedSocket(BlockedUntilStarted):
    """The domain's processes keep the socket that they were started with."""

    def _inherited(self) -> int:
        return 1
