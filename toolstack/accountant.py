"""`accountant`: a daemon that is told of every change of tot_pages, and decides from its own books (P4).

The hypervisor puts each change into a bounded ring and raises an event; the daemon reads, and keeps every
domain's tot_pages and the host's free memory. A decision then costs no hypercall at all. The commit message
of the claim hypercall rejects it: it repeats in userspace what the hypervisor knows, after a delay, maybe
millions of times, and there may never be a moment at which nothing is under way. Xen has no such ring; its
requests are a counterfactual.

The books are as old as the last change read. Nothing keeps a guest from growing after the decision; the
daemon merely sees it. When the ring has lost changes everything is read anew.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from hypervisor.public.counterfactual import ReadReservations, ReservationChanges, WatchReservations
from hypervisor.public.errors import Errno
from hypervisor.public.units import Commit, DomId, Pages
from hypervisor.public.world import CancelledError
from toolstack.interface import (
    CountingWorld,
    Launch,
    LaunchRefusedError,
    Scheme,
    parse_parameters,
    read_domains,
    read_host,
)

PATIENCE = 0.05
"""Emulated seconds between two looks at whether the books have been opened."""


class AccountantParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.accountant]."""

    ring_size: Annotated[int, Meta(ge=1, le=1 << 20)] = 4096
    """Changes that the ring holds. Range: 64 to 65536."""
    batch: Annotated[int, Meta(ge=1, le=1 << 15)] = 1024
    """Changes taken by one reading. Range: 1 to 4096."""
    margin_percent: Annotated[int, Meta(ge=0, le=100)] = 0
    """Free memory wanted beyond the need, percent of it, against guests that grow. Range: 0 to 20."""


class Accountant(Scheme):
    """Books fed by a ring; admissions without a hypercall."""

    origin = "P4: rejected in the commit message of the claim hypercall"
    parameters = AccountantParameters

    def __init__(self, parameters: Any) -> None:
        """See `AccountantParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._parameters = parse_parameters(parameters, AccountantParameters)
        self._tot_pages: dict[DomId, Pages] = {}
        self._free: Pages = 0
        self._as_of: Commit = 0
        self._fault = "opening"
        self._launches: dict[int, Launch] = {}
        self._figures = {"changes read": 0, "changes lost": 0, "most steps behind": 0}

    async def admit_before_create(self, launch: Launch) -> bool:
        """By the books as they are at this moment."""
        while self._fault == "opening":
            await launch.world.sleep(PATIENCE)
        if self._fault:
            raise LaunchRefusedError(f"the accountant keeps no books: {self._fault}", self._as_of)
        launch.sampled = self._as_of
        needed = launch.need + launch.need * self._parameters.margin_percent // 100
        needed += sum(self._still_to_take(other) for other in self._launches.values())
        if self._free < needed:
            text = f"{self._free} pages free by the books, {needed} needed"
            raise LaunchRefusedError(text, self._as_of)
        self._launches[launch.order.order] = launch
        return True

    async def release(self, launch: Launch) -> None:
        """The promise is over."""
        self._launches.pop(launch.order.order, None)

    async def serve(self, world: CountingWorld) -> None:
        """Open the books, and keep them until the end."""
        try:
            await self._open(world)
            while True:
                await world.next_event()
                await self._read_ring(world)
        except (CancelledError, Exception) as error:
            self._fault = f"its daemon has ended: {error!r}"
            await world.hypercall(WatchReservations(0))
            raise

    def notes(self) -> dict[str, Any]:
        """How much it read, and how far behind it was."""
        return dict(self._figures)

    async def _open(self, world: CountingWorld) -> None:
        """The ring first, so that no change after the reading is missed."""
        await world.hypercall(WatchReservations(self._parameters.ring_size))
        await self._read_everything(world)

    async def _read_everything(self, world: CountingWorld) -> None:
        domains, _ = await read_domains(world)
        self._tot_pages = {one.domid: one.tot_pages for one in domains}
        host, commit = await read_host(world)
        self._free = host.free_pages
        # Changes since the first of these readings are in the ring, and told once more.
        self._as_of = min([commit, *(one.commit for one in domains)])
        self._fault = ""

    async def _read_ring(self, world: CountingWorld) -> None:
        """Until it is empty; changes older than the books are in them already."""
        waiting = 1
        while waiting:
            reply = await world.hypercall(ReadReservations(self._parameters.batch))
            if reply.ret == -Errno.ENOENT:  # it was full, and had to make room for another toolstack's
                await self._open(world)
                return
            if not isinstance(reply.value, ReservationChanges):
                raise LaunchRefusedError(f"the ring answered {reply.ret}", reply.last)
            waiting = reply.value.waiting
            self._enter(reply.value, reply.last)
            if reply.value.lost:
                await self._read_everything(world)

    def _enter(self, news: ReservationChanges, read_at: Commit) -> None:
        for change in news.changes:
            if change.commit > self._as_of:
                self._tot_pages[change.domid] = change.tot_pages
                self._free, self._as_of = change.free_pages, change.commit
        self._figures["changes read"] += len(news.changes)
        self._figures["changes lost"] += news.lost
        behind = read_at - news.changes[0].commit if news.changes else 0
        self._figures["most steps behind"] = max(self._figures["most steps behind"], behind)

    def _still_to_take(self, launch: Launch) -> Pages:
        """By the same books as the free memory, so that nothing counts twice."""
        taken = self._tot_pages.get(launch.domid, 0)
        return max(0, launch.pages - taken) if taken else launch.need
