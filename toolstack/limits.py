"""max_pages lowered for a while: every cut is known, so that all of it can be undone.

At any moment max_pages = lifetime maximum - cut. The lifetime maximum is what memory/static-max stands for
(libxl sets max_pages 1 MiB above it), or max_pages as first seen where that is no less: max_pages alone may
be another toolstack's clamp. Two toolstacks that clamp still undo each other's limits; nothing in max_pages
tells one of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from hypervisor.public.counterfactual import MaxMemBatch
from hypervisor.public.domctl import (
    DOMINF_DYING,
    DOMINF_PAUSED,
    DomainInfo,
    DomainInfoList,
    GetDomainInfoList,
    MaxMem,
)
from hypervisor.public.points import point
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DOMID_DOM0, Commit, DomId, Pages, kib_to_pages, pages_to_kib
from hypervisor.public.xenstore import StoreRead, StoreText, static_max_path
from toolstack.interface import CountingWorld, LaunchRefusedError, read_domains
from toolstack.need import MAXMEM_CONSTANT

Key = tuple[DomId, int]
"""(domid, incarnation)."""
Calls = Literal["one by one", "multicall", "atomic"]
"""How a set of limits reaches the hypervisor: a hypercall each, one message whose requests others may run
between, or one step with nobody in between, which Xen does not have (hypothesis H4)."""
MOST_IN_ONE: Final = 1000
"""Requests of one multicall; the wire takes 1024."""
READ_ALL: Final = GetDomainInfoList(DOMID_DOM0 + 1, 1 << 15)


class CutLimits:
    """The limits that one toolstack has lowered."""

    def __init__(self, calls: Calls = "one by one") -> None:
        self._calls: Calls = calls
        self.cuts: dict[Key, Pages] = {}
        """Pages each max_pages lies below its lifetime maximum."""
        self.lifetime: dict[Key, Pages] = {}

    async def learn(self, world: CountingWorld, running: Sequence[DomainInfo]) -> bool:
        """Find the lifetime maxima of domains never seen before; True when there were any."""
        there = {key_of(one) for one in running}
        self.lifetime = {
            key: pages for key, pages in self.lifetime.items() if key in there or key in self.cuts
        }
        unseen = [one for one in running if key_of(one) not in self.lifetime]
        for start in range(0, len(unseen), MOST_IN_ONE):
            some = unseen[start : start + MOST_IN_ONE]
            replies = await world.multicall([StoreRead(static_max_path(one.domid)) for one in some])
            for one, reply in zip(some, replies, strict=True):
                self.lifetime[key_of(one)] = _lifetime(one, reply)
        return bool(unseen)

    async def apply(self, world: CountingWorld, wanted: Mapping[Key, Pages]) -> None:
        """Make `wanted` the cuts: limits fall first, then rise, and only those that change are set.

        A cut is on record before its hypercall, so that a restore after whatever failure knows of it.
        """
        await self._set(world, wanted, ())

    async def apply_and_read(
        self, world: CountingWorld, wanted: Mapping[Key, Pages]
    ) -> tuple[tuple[DomainInfo, ...], Commit]:
        """The same, and then "immediately" every domain's counters: in one message or step if so asked."""
        if self._calls == "one by one":
            await self._set(world, wanted, ())
            await point(world, "clamped")
            return await read_domains(world)
        reply = await self._set(world, wanted, (READ_ALL,))
        if reply is None or not isinstance(reply.value, DomainInfoList):
            raise LaunchRefusedError("the domains could not be read", 0 if reply is None else reply.last)
        return reply.value.domains, reply.last

    async def _set(
        self, world: CountingWorld, wanted: Mapping[Key, Pages], reads: tuple[Request, ...]
    ) -> Reply | None:
        """The last reply; None when there was nothing to ask."""
        reply: Reply | None = None
        for keys, request in self._requests(wanted, reads):
            for key in keys:
                self.cuts[key] = max(self.cuts.get(key, 0), wanted.get(key, 0))
            if isinstance(request, tuple):
                reply = (await world.multicall(request))[-1]
            else:
                reply = await world.hypercall(request)  # ESRCH: it left meanwhile
            for key in keys:
                self.cuts[key] = wanted.get(key, 0)
        self.cuts = {key: cut for key, cut in self.cuts.items() if cut}
        return reply

    def _requests(
        self, wanted: Mapping[Key, Pages], reads: tuple[Request, ...]
    ) -> list[tuple[list[Key], Request | tuple[Request, ...]]]:
        keys = sorted({**self.cuts, **wanted})
        changes = {key: wanted.get(key, 0) - self.cuts.get(key, 0) for key in keys}
        ordered = sorted((key for key in keys if changes[key]), key=lambda key: -changes[key])
        limits = [(key[0], pages_to_kib(max(self.lifetime[key] - wanted.get(key, 0), 0))) for key in ordered]
        match self._calls:
            case "one by one":
                return [([key], MaxMem(*limit)) for key, limit in zip(ordered, limits, strict=True)]
            case "atomic":
                return [(ordered, MaxMemBatch(tuple(limits)))] if limits or reads else []
            case "multicall":
                every: list[Request] = [*(MaxMem(*limit) for limit in limits), *reads]
                pieces = range(0, len(every), MOST_IN_ONE)
                return [
                    (ordered[at : at + MOST_IN_ONE], tuple(every[at : at + MOST_IN_ONE])) for at in pieces
                ]

    def limit(self, key: Key) -> Pages:
        """max_pages as set here."""
        return max(self.lifetime[key] - self.cuts.get(key, 0), 0)

    def headroom(self, domain: DomainInfo) -> Pages:
        """Up to the lifetime maximum, whatever is cut now."""
        return max(self.lifetime[key_of(domain)] - domain.tot_pages, 0)


def key_of(domain: DomainInfo) -> Key:
    """What tells this domain from every other, also from an earlier one of its domid."""
    return domain.domid, domain.incarnation


def is_running(domain: DomainInfo) -> bool:
    """Neither under construction (paused) nor dying."""
    return not domain.flags & (DOMINF_PAUSED | DOMINF_DYING)


def _lifetime(domain: DomainInfo, reply: Reply) -> Pages:
    text = reply.value.value if isinstance(reply.value, StoreText) else ""
    static_max = kib_to_pages(int(text)) if text.isdigit() else 0
    as_built = static_max + MAXMEM_CONSTANT if static_max else domain.max_pages
    # Built by a toolstack that leaves no such margin, or that left more: believe what is there.
    own_way = domain.max_pages == static_max or domain.max_pages > as_built
    return domain.max_pages if own_way else as_built
