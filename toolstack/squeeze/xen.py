"""squeezed's eyes and hands: snapshots of the host, targets and limits set, all of it undone at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hypervisor.public.domctl import DOMINF_HVM, DomainInfo
from hypervisor.public.requests import Reply
from hypervisor.public.units import DomId, Pages, kib_to_pages, pages_to_kib
from hypervisor.public.xenstore import (
    StoreRead,
    StoreRemove,
    StoreText,
    StoreWrite,
    feature_balloon_path,
    memory_target_path,
    uncooperative_path,
)
from toolstack.interface import CountingWorld, Launch, read_domains, read_host
from toolstack.limits import CutLimits, Key, is_running, key_of
from toolstack.need import MAXMEM_CONSTANT
from toolstack.squeeze.host import SqueezedDomain, SqueezedHost, max_pages
from toolstack.squeeze.iteration import Change
from toolstack.squeeze.reservations import Reservations

MOST_OFFSET: Pages = 256
"""A larger difference between actual and target is no offset: the guest has ballooned before it was seen."""


@dataclass(slots=True)
class _Seen:
    """What is remembered of a running domain."""

    original: str
    """memory/target as found, put back at the end."""
    target: Pages
    booted: bool = False
    offset: Pages = 0
    uncooperative: bool = False


class SqueezedXen:
    """Domains that run are squeezed; those under construction only count."""

    def __init__(self, dynamic_min_percent: int, dynamic_max_percent: int) -> None:
        """Both are shares of a domain's lifetime maximum."""
        self._min_percent = dynamic_min_percent
        self._max_percent = dynamic_max_percent
        self.limits = CutLimits()
        self._seen: dict[Key, _Seen] = {}

    async def snapshot(
        self, world: CountingWorld, reservations: Reservations, launches: Mapping[DomId, Launch]
    ) -> SqueezedHost:
        """Several hypercalls, not atomic, as its documents admit. `launches`: ours under way, by domid."""
        domains, _ = await read_domains(world)
        running = [one for one in domains if is_running(one)]
        await self.limits.learn(world, running)
        await self._look_at(world, running)
        host, _ = await read_host(world)
        found = [self._running(one) for one in running if key_of(one) in self._seen]
        found += _building([one for one in domains if not is_running(one)], reservations, launches)
        return SqueezedHost(host.free_pages + host.scrub_pages, reservations.open_pages, tuple(found))

    async def _look_at(self, world: CountingWorld, running: Sequence[DomainInfo]) -> None:
        """Read what is not known yet: the target of new domains, and whether the others have booted."""
        there = {key_of(one) for one in running}
        self._seen = {key: seen for key, seen in self._seen.items() if key in there}
        new = [one for one in running if key_of(one) not in self._seen]
        for one in new:
            text = _text(await world.hypercall(StoreRead(memory_target_path(one.domid))))
            target = kib_to_pages(int(text)) if text.isdigit() else one.tot_pages
            self._seen[key_of(one)] = _Seen(text, target)
        for one in running:
            seen = self._seen[key_of(one)]
            if not seen.booted:
                found = await world.hypercall(StoreRead(feature_balloon_path(one.domid)))
                seen.booted = found.ret >= 0
                difference = one.tot_pages - seen.target
                seen.offset = difference if abs(difference) <= MOST_OFFSET else 0  # Q7

    def _running(self, one: DomainInfo) -> SqueezedDomain:
        seen, hvm = self._seen[key_of(one)], bool(one.flags & DOMINF_HVM)
        ram = self._ram_of(self.limits.lifetime[key_of(one)], hvm)
        return SqueezedDomain(
            key=key_of(one),
            dyn_min=ram * self._min_percent // 100,
            dyn_max=ram * self._max_percent // 100,
            target=seen.target,
            actual=one.tot_pages - seen.offset,
            booted=seen.booted,
            hvm=hvm,
        )

    def _ram_of(self, limit: Pages, hvm: bool) -> Pages:
        """What a domain of that max_pages can use: HVM domains are given 1 MiB more than that (Q6)."""
        return max(limit - (MAXMEM_CONSTANT if hvm else 0), 0)

    # ---- hands

    async def apply(self, world: CountingWorld, changes: Iterable[Change]) -> None:
        """Limits before targets, so that nobody is asked up to where it may not go, nor allowed to stay."""
        wanted = dict(self.limits.cuts)
        changes = [one for one in changes if one.domain.key in self._seen]
        for one in changes:
            key = one.domain.key
            limit = max_pages(one.domain, one.maxmem, self._seen[key].offset)
            wanted[key] = max(self.limits.lifetime[key] - limit, 0)
        await self.limits.apply(world, wanted)
        for one in changes:
            if one.target is not None and one.target != self._seen[one.domain.key].target:
                self._seen[one.domain.key].target = one.target
                text = str(pages_to_kib(one.target))
                await world.hypercall(StoreWrite(memory_target_path(one.domain.key[0]), text))

    async def mark(self, world: CountingWorld, key: Key, uncooperative: bool) -> None:
        """memory/uncooperative, written and removed when it changes."""
        seen = self._seen.get(key)
        if seen is None or seen.uncooperative == uncooperative:
            return
        seen.uncooperative = uncooperative
        path = uncooperative_path(key[0])
        await world.hypercall(StoreWrite(path, "1") if uncooperative else StoreRemove(path))

    async def hold(self, world: CountingWorld, launch: Launch) -> None:
        """A domain just built may have its reservation and no more until it is balanced (Q6)."""
        key = launch.domid, launch.incarnation
        self.limits.lifetime[key] = launch.order.max_pages + MAXMEM_CONSTANT
        cut = max(self.limits.lifetime[key] - launch.populated, 0)
        await self.limits.apply(world, {**self.limits.cuts, key: cut})

    async def undo(self, world: CountingWorld) -> None:
        """Every limit, target and mark as it was found."""
        await self.limits.apply(world, {})
        for key, seen in self._seen.items():
            await self.mark(world, key, False)
            if seen.original:
                await world.hypercall(StoreWrite(memory_target_path(key[0]), seen.original))


def _building(
    paused: Sequence[DomainInfo], reservations: Reservations, launches: Mapping[DomId, Launch]
) -> list[SqueezedDomain]:
    """Ours count with what was transferred to them, others' with what their limit lets them take."""
    found: list[SqueezedDomain] = []
    for one in paused:
        launch = launches.get(one.domid)
        shadow = launch.need - launch.pages if launch is not None and launch.populated else 0
        initial = reservations.of_domain(key_of(one)) if launch is not None else one.max_pages
        found.append(
            SqueezedDomain(
                key=key_of(one),
                dyn_min=one.tot_pages,
                dyn_max=one.tot_pages,
                target=one.tot_pages,
                actual=one.tot_pages,
                booted=False,
                initial_reservation=initial,
                shadow=shadow,
            )
        )
    return found


def _text(reply: Reply) -> str:
    return reply.value.value if isinstance(reply.value, StoreText) else ""
