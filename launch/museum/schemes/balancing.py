"""The daemon of Qubes in small (Q9): limits follow the guests, one lock, and what it had outside of it."""

from __future__ import annotations

from collections.abc import Sequence

from hypervisor.public.domctl import DomainInfo, MaxMem
from hypervisor.public.units import Pages, pages_to_kib
from toolstack.in_turn import InTurn
from toolstack.interface import Launch, LaunchRefusedError, Scheme, read_domains, read_host
from toolstack.limits import is_running
from toolstack.promises import Promises


class Qmemman(Scheme):
    """For a launch nobody may grow; when the list of domains changes free memory is handed out again.

    Guests that shrink are left out: a launch gets what is free once all are held where they are.
    """

    def __init__(self, parameters: object) -> None:
        """It takes no parameters."""
        super().__init__({})
        self._promises = Promises()
        self._lock = InTurn()

    async def admit_before_create(self, launch: Launch) -> bool:
        """do_balloon, under the lock."""
        await self._lock.run(launch.world, lambda: self._balloon(launch))
        return True

    async def release(self, launch: Launch) -> None:
        """The domain has started, or is gone: a thread of its own hears of another list of domains."""
        self._promises.remove(launch)
        launch.world.spawn(self._domain_list_changed(launch), "domain list changed")

    async def _domain_list_changed(self, launch: Launch) -> None:
        async def refresh_and_balance() -> None:
            await self._balance(launch, await self._refresh(launch))

        await self._lock.run(launch.world, refresh_and_balance)

    async def _balloon(self, launch: Launch) -> None:
        for one in await self._refresh(launch):
            await self._limit(launch, one, 0)
        host, commit = await read_host(launch.world)
        free = host.free_pages - self._promises.pages
        if free < launch.need:
            raise LaunchRefusedError(f"{free} pages free, {launch.need} needed", commit)
        self._promises.add(launch)

    async def _refresh(self, launch: Launch) -> Sequence[DomainInfo]:
        domains, _ = await read_domains(launch.world)
        return [one for one in domains if is_running(one)]

    async def _balance(self, launch: Launch, guests: Sequence[DomainInfo]) -> None:
        host, _ = await read_host(launch.world)
        surplus = max(host.free_pages - self._promises.pages, 0)
        for one in guests:
            await self._limit(launch, one, surplus // len(guests))

    async def _limit(self, launch: Launch, one: DomainInfo, more: Pages) -> None:
        await launch.world.hypercall(MaxMem(one.domid, pages_to_kib(one.tot_pages + more)))


class BalanceOutsideLock(Qmemman):
    """domain_list_changed as it was until 2de9eb75: do_balance() after the lock was released."""

    async def _domain_list_changed(self, launch: Launch) -> None:
        guests = await self._lock.run(launch.world, lambda: self._refresh(launch))
        await self._balance(launch, guests)
