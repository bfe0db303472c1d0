"""Pins: every running domain's max_pages at its tot_pages, so that none can grow (P2', P6).

The check rests on this: with all limits set, the sum of what they still allow plus what is promised plus the
need of this launch must be free. Free memory is looked at before and after the domains are read, and the
smaller figure counts: a guest that gave pages back in between may take them again up to its pin.

A pin is no lower than tot_pages as read a moment before. A guest that grew in between lies above its pin and
cannot grow any more, so nobody need be put back for it: that is where pins differ from Campbell's check.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypervisor.public.domctl import DomainInfo
from hypervisor.public.units import Pages
from toolstack.in_turn import InTurn
from toolstack.interface import CountingWorld, Launch, LaunchRefusedError, Scheme, read_domains, read_host
from toolstack.limits import Calls, CutLimits, Key, is_running, key_of
from toolstack.need import MAXMEM_CONSTANT
from toolstack.promises import Promises


class Pinning(Scheme):
    """What `clamp-to-tot` and `forbid` have in common; they differ in when pins are lifted."""

    def __init__(self, calls: Calls, margin_percent: int, *, repin: bool) -> None:
        """`margin_percent` of tot_pages is left to grow into; `repin` lowers pins at every admission."""
        super().__init__({})
        self._margin_percent = margin_percent
        self._repin = repin
        self._limits = CutLimits(calls)
        self._promises = Promises()
        self._in_turn = InTurn()

    async def admit_before_create(self, launch: Launch) -> bool:
        """Pin everybody, add up, and admit."""
        await self._in_turn.run(launch.world, lambda: self._admit(launch))
        return True

    async def release(self, launch: Launch) -> None:
        """The promise is over."""
        await self._in_turn.run(launch.world, lambda: self._release(launch))

    def _lasting(self) -> bool:
        """True while pins are to stay."""
        return len(self._promises) > 0

    async def _admit(self, launch: Launch) -> None:
        host, commit = await read_host(launch.world)
        if host.free_pages < self._promises.pages + launch.need:
            missing = self._promises.pages + launch.need - host.free_pages
            raise LaunchRefusedError(f"{missing} pages too few are free", commit)
        before = dict(self._limits.cuts)
        try:
            await self._pin_and_check(launch, host.free_pages)
        except LaunchRefusedError:
            await self._limits.apply(launch.world, before)
            raise
        self._promises.add(launch)

    async def _pin_and_check(self, launch: Launch, free_before: Pages) -> None:
        wanted = await self._pins(launch.world)
        domains, _ = await self._limits.apply_and_read(launch.world, wanted)
        host, commit = await read_host(launch.world)
        free = min(free_before, host.free_pages)
        needed = self._growth(domains) + self._promises.pages + launch.need
        if needed > free:
            text = f"{free} pages free, {needed} needed with what the pinned domains may still take"
            raise LaunchRefusedError(text, commit)

    async def _pins(self, world: CountingWorld) -> dict[Key, Pages]:
        """The cuts that pin every running domain where it is."""
        domains, _ = await read_domains(world)
        running = [one for one in domains if is_running(one)]
        if await self._limits.learn(world, running):
            domains, _ = await read_domains(world)  # as fresh as can be when the limits are set
        lifetime, cuts = self._limits.lifetime, self._limits.cuts
        wanted = {**cuts}
        for one in domains:
            key = key_of(one)
            if is_running(one) and key in lifetime and (self._repin or key not in cuts):
                wanted[key] = self._cut(key, one.tot_pages)
        return wanted

    def _cut(self, key: Key, tot_pages: Pages) -> Pages:
        pin = tot_pages + tot_pages * self._margin_percent // 100
        return max(self._limits.lifetime[key] - pin, 0)

    def _growth(self, domains: Iterable[DomainInfo]) -> Pages:
        """What the limits let other domains take; our own launches are counted as promises."""
        ours = self._promises.domids
        return sum(max(one.max_pages - one.tot_pages, 0) for one in domains if one.domid not in ours)

    async def _release(self, launch: Launch) -> None:
        self._promises.remove(launch)
        if not self._lasting():
            await self._limits.apply(launch.world, {})
        elif launch.built:
            # It begins to run now, and must not grow either while the others are built.
            key = launch.domid, launch.incarnation
            self._limits.lifetime[key] = launch.order.max_pages + MAXMEM_CONSTANT
            pinned = {**self._limits.cuts, key: self._cut(key, launch.populated)}
            await self._limits.apply(launch.world, pinned)
