"""Writes to pages that the guest shares with others: each first write is a copy-on-write break (S9).

Its kernel never asks for the page that a copy takes: the hypervisor finds one, or the vcpu waits, or the
domain crashes (S10, S11).
"""

from __future__ import annotations

from typing import Final

from guests.kernel.hypercalls import Hypercalls
from guests.report import Counters
from hypervisor.public.access import SharingBroken, WritePage
from hypervisor.public.requests import Reply
from hypervisor.public.units import Gfn, Runs, Seconds
from hypervisor.public.world import World

MOST_AT_ONCE: Final = 256
"""Writes in one message, one after the other as by one vcpu."""


class SharedWrites:
    """One vcpu that writes to every shared page once, in an order drawn from the world's random stream.

    `rate` is in first writes per emulated second. What has been written is never shared again.
    """

    def __init__(
        self, world: World, calls: Hypercalls, shared: Runs, rate: float, tick: Seconds, counters: Counters
    ) -> None:
        self._world = world
        self._calls = calls
        self._rate = rate
        self._tick = tick
        self._counters = counters
        self._left: list[Gfn] = [gfn for first, count in shared for gfn in range(first, first + count)]
        self._asked: Seconds | None = None

    async def run(self) -> None:
        """Write at the rate until every page has been written. A stalled vcpu makes up for the time lost."""
        if self._rate <= 0:
            return
        self._world.rng.shuffle(self._left)
        began, written = self._world.now(), 0
        while self._left:
            due = int((self._world.now() - began) * self._rate) - written
            count = min(due, len(self._left), MOST_AT_ONCE)
            if count <= 0:
                await self._world.sleep(max(self._tick, 1 / self._rate))
                continue
            written += count
            await self._write([self._left.pop() for _ in range(count)])

    def stop(self) -> None:
        """Charge the wait for a write that has not returned."""
        if self._asked is not None:
            self._counters.shared_pending = 1
            self._counters.shared_stalled_s += self._world.now() - self._asked
            self._asked = None

    async def _write(self, gfns: list[Gfn]) -> None:
        """One after the other: a vcpu that stalls at one page gets no further."""
        token = self._world.domid << 32  # no other domain writes this content
        self._asked = self._world.now()
        replies = await self._calls.in_turn([WritePage(gfn, token | 1 + gfn) for gfn in gfns])
        passed, self._asked = self._world.now() - self._asked, None
        for reply in replies:
            self._count(reply)
        if any(isinstance(one.value, SharingBroken) and one.value.stalls for one in replies):
            self._counters.shared_stalled_s += passed

    def _count(self, reply: Reply) -> None:
        counters = self._counters
        counters.shared_writes += 1
        if reply.ret < 0:
            counters.shared_refused += 1
        elif isinstance(reply.value, SharingBroken):
            counters.shared_copies += reply.value.copied
            counters.shared_kept += not reply.value.copied
            counters.shared_stalls += reply.value.stalls
