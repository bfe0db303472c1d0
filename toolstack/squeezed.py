"""`squeezed`: the reservations of XenServer's memory daemon, the DMC model (P8, rules Q1-Q7).

Every domain lives between a dynamic minimum and maximum; its max_pages is its target, and one daemon,
single threaded, moves all targets. A launch reserves memory first (login, reserve_memory): others' targets
are lowered, their balloons are waited for, and only what has become free is promised; then the domain is
created, the reservation transferred to it, and it is built. Idle memory is handed back every 10 s. Xen knows
nothing of it: the invariant host free >= slush + reservations holds because nobody may exceed a target that
squeezed set.

What its own documents admit, kept here: snapshots are stitched from several hypercalls; a stuck guest keeps
its memory while cooperative ones give theirs; the holes of the 5 s and 20 s rules (activity.py); a guest that
is held below its target retries for ever. It expects guests that follow memory/target: one that sizes itself
is off its target, hence inactive, hence held where it is.

Dynamic ranges are an administrator's choice in XAPI; here they are shares of the lifetime maximum.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hypervisor.public.units import PAGES_PER_MIB, Pages, Seconds
from hypervisor.public.world import CancelledError
from toolstack.interface import (
    CountingWorld,
    Launch,
    LaunchRefusedError,
    ParametersError,
    Scheme,
    parse_parameters,
)
from toolstack.limits import Key
from toolstack.squeeze.activity import Activity
from toolstack.squeeze.host import SqueezedHost
from toolstack.squeeze.iteration import Turn, turn
from toolstack.squeeze.reservations import Reservations
from toolstack.squeeze.xen import SqueezedXen
from toolstack.waiting_line import WaitingLine

DAEMON = "balance_memory"
"""Who holds the mutex while idle memory is balanced."""


class SqueezedParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.squeezed]."""

    dynamic_min_percent: Annotated[int, Meta(ge=0, le=100)] = 50
    """dynamic-min of every domain, percent of its lifetime maximum. Range: 25 to 100."""
    dynamic_max_percent: Annotated[int, Meta(ge=1, le=100)] = 100
    """dynamic-max of every domain, percent of its lifetime maximum. Range: 50 to 100."""
    slush_pages: Annotated[int, Meta(ge=0)] = 8 * PAGES_PER_MIB
    """Always kept free (Q3). Range: 0 to 16384 pages."""
    emergency_pages: Annotated[int, Meta(ge=0)] = 1 * PAGES_PER_MIB
    """low_mem_emergency_pool: 1 MiB until 2026, then 64 MiB (Q3). Range: 256 to 16384 pages."""
    tolerance_pages: Annotated[int, Meta(ge=0)] = 128
    """How near to its target a domain is at it, 512 KiB (Q3). Range: 1 to 1024 pages."""
    stuck_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """Without progress for so long, a balloon driver is inactive (Q3). Range: 1 to 30."""
    uncooperative_seconds: Annotated[float, Meta(gt=0)] = 20.0
    """Inactive for so long, a domain is marked uncooperative (Q3). Range: 5 to 60."""
    balance_seconds: Annotated[float, Meta(gt=0)] = 10.0
    """Between two looks at idle memory (Q3; its two documents say 10 and 30). Range: 5 to 60."""
    success: Literal["secured", "at target"] = "secured"
    """When memory is promised: when limits leave nobody room to take it, or, as the original, only when every
    active domain is at its target, which guests that size themselves never are. Range: secured, at target."""
    loop_seconds: Annotated[float, Meta(gt=0)] = 1.0
    """Between two looks while memory is being moved (Q3). Range: 0.25 to 5."""


class Squeezed(Scheme):
    """One mutex, one loop; launches and the idle balance take turns at it."""

    origin = "P8: XenServer's squeezed, the DMC model"
    parameters = SqueezedParameters

    def __init__(self, parameters: Any) -> None:
        """See `SqueezedParameters`. Raises `ParametersError`."""
        super().__init__({})
        chosen = self._parameters = parse_parameters(parameters, SqueezedParameters)
        if chosen.dynamic_min_percent > chosen.dynamic_max_percent:
            raise ParametersError("dynamic_min_percent is above dynamic_max_percent: lower it")
        self._pool: Pages = chosen.slush_pages + chosen.emergency_pages
        self._xen = SqueezedXen(chosen.dynamic_min_percent, chosen.dynamic_max_percent)
        self._activity = Activity(chosen.stuck_seconds, chosen.uncooperative_seconds, chosen.tolerance_pages)
        self._reservations = Reservations()
        self._numbers: dict[int, int] = {}
        """Reservation of each launch order."""
        self._launches: dict[int, Launch] = {}
        self._mutex = WaitingLine(look_seconds=0.1)

    # ---- launches

    async def admit_before_create(self, launch: Launch) -> bool:
        """login and reserve_memory; the promise is made where libxl claims, when it is transferred."""
        client, world = str(launch.order.order), launch.world
        self._reservations.login(client)
        self._launches[launch.order.order] = launch
        try:
            await self._mutex.enter(world, launch.order.order)
            await self._free_memory(launch)
            self._numbers[launch.order.order] = self._reservations.reserve(client, launch.need)
        finally:
            self._mutex.leave(launch.order.order)
        return False

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """transfer_reservation_to_domain."""
        number = self._numbers.pop(launch.order.order)
        key = launch.domid, launch.incarnation
        self._reservations.transfer(str(launch.order.order), number, key)

    async def release(self, launch: Launch) -> None:
        """The domain runs from now on and is balanced like any other, or it is gone."""
        order = launch.order.order
        try:
            if launch.built:
                await self._mutex.enter(launch.world, order)
                await self._xen.hold(launch.world, launch)
        finally:
            self._mutex.leave(order)
            self._launches.pop(order, None)
            number = self._numbers.pop(order, None)
            if number is not None:
                self._reservations.delete(str(order), number)
            self._reservations.forget((launch.domid, launch.incarnation))

    async def _free_memory(self, launch: Launch) -> None:
        """reserve_memory: until its need is free beside pool and reservations, and everybody is at rest."""
        world, wanted = launch.world, launch.need + self._pool
        while True:
            launch.look_anew()
            now = await self._look(world, wanted, may_raise=False)
            if now.settled and now.available >= wanted:
                await self._act(world, now)
                return
            if now.settled or now.most < wanted:
                raise LaunchRefusedError(_refusal(now, wanted), world.last_commit)
            await self._act(world, now)
            await world.sleep(self._parameters.loop_seconds)

    # ---- the daemon

    async def serve(self, world: CountingWorld) -> None:
        """Hand idle memory out every 10 s; at the end everything is as it was found."""
        try:
            while True:
                await self._mutex.enter(world, DAEMON)
                await self._balance(world)
                self._mutex.leave(DAEMON)
                await world.sleep(self._parameters.balance_seconds)
        except (CancelledError, Exception):
            self._mutex.leave(DAEMON)
            await self._xen.undo(world)
            raise

    async def _balance(self, world: CountingWorld) -> None:
        """balance_memory, for no longer than until it would begin again."""
        end = world.now() + self._parameters.balance_seconds
        while True:
            now = await self._look(world, self._pool, may_raise=True)
            await self._act(world, now)
            if now.settled or world.now() >= end:
                return
            await world.sleep(self._parameters.loop_seconds)

    # ---- what both do

    async def _look(self, world: CountingWorld, wanted: Pages, *, may_raise: bool) -> Turn:
        """A snapshot, who is stuck, and what is to be done about it."""
        launches = {launch.domid: launch for launch in self._launches.values()}
        host = await self._xen.snapshot(world, self._reservations, launches)
        active = self._observe(host, world.now())
        tolerance, secure = self._parameters.tolerance_pages, self._parameters.success == "secured"
        return turn(host, wanted, active, tolerance, may_raise=may_raise, secure=secure)

    async def _act(self, world: CountingWorld, now: Turn) -> None:
        """Limits and targets; an inactive domain is held where it is at every look (Q6)."""
        await self._xen.apply(world, now.changes)
        for one in now.changes:
            if one.domain.booted:
                stuck = self._activity.is_uncooperative(one.domain.key, world.now())
                await self._xen.mark(world, one.domain.key, stuck)

    def _observe(self, host: SqueezedHost, now: Seconds) -> frozenset[Key]:
        """Whose balloon driver works; a domain that has not booted has none."""
        booted = [domain for domain in host.domains if domain.booted]
        self._activity.forget_others([domain.key for domain in booted])
        for domain in booted:
            self._activity.observe(domain.key, domain.actual, domain.target, now)
        return frozenset(one.key for one in booted if self._activity.is_active(one.key))


def _refusal(now: Turn, wanted: Pages) -> str:
    if now.refusing:
        domids = ", ".join(str(domid) for domid, _ in now.refusing)
        return f"Domains_refused_to_cooperate: {domids}: {now.available} pages free, {wanted} wanted"
    return f"Cannot_free_this_much_memory: {wanted} pages wanted, {now.most} can be had"
