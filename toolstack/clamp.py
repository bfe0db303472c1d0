"""`clamp`: Campbell's scheme (P2): the toolstack claims by lowering other domains' max_pages for a while.

Steps as the seed quotes them: sample tot_pages of the N domains; choose L of them and how much to cut each;
set each max_pages; "immediately" re-read every tot_pages. All under: the claim has succeeded, build. Any one
over: put every max_pages back and refuse. After the build each gets its lifetime maximum back. Step 6, the
controls of tmem, is the parameter `tmem`: they are used before the sample is taken, and thawed at the end.

The seed leaves open what L is and how large the cuts are. They are parameters, and what they default to is
what a careful toolstack would do; every choice below is meant to help the scheme, not to catch it out.

total = "fit": the cuts are what it takes that the launch fits even if every domain grows to its limit:
    sum(limit_i - tot_i) <= free - promised,    limit_i = lifetime_i - cut_i
  where `promised` is what this launch and this toolstack's other builds have yet to take. One set of cuts
  serves all launches under way. It is worked out anew at each admission and each release, because a
  finished build has used memory for good that its cut, once restored, would hand out a second time. With
  no launch left, every domain has its lifetime maximum.
total = "m": the cuts sum to M for each launch and are given back with it, to the letter of the seed. On a
  host whose lifetime maxima are overcommitted this protects less than it seems to.

The lifetime maximum is what memory/static-max stands for (libxl sets max_pages 1 MiB above it), or max_pages
as first seen where that is no less: max_pages alone may be another toolstack's clamp. Two toolstacks that
clamp still undo each other's limits; nothing in P2 tells one of the other. Domains that are paused (under
construction elsewhere) are not cut, which would end their build, but count with all that their limit lets
them take. dom0 does not balloon, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hypervisor.public.domctl import DOMINF_DYING, DOMINF_PAUSED, DomainInfo, MaxMem
from hypervisor.public.units import Commit, DomId, Pages, kib_to_pages, pages_to_kib
from hypervisor.public.xenstore import StoreRead, StoreText, static_max_path
from toolstack.cuts import Cuts, literal_equal, spread
from toolstack.in_turn import InTurn
from toolstack.interface import (
    CountingWorld,
    Launch,
    LaunchRefusedError,
    Scheme,
    parse_parameters,
    read_domains,
    read_host,
)
from toolstack.need import MAXMEM_CONSTANT
from toolstack.tmem_controls import TMEM_RELEASES, TmemFreeze, flush

Key = tuple[DomId, int]
"""(domid, incarnation)."""
NAMED_MOST = 3
"""Domains that a refusal names; of more it gives the number."""


class ClampParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.clamp]."""

    cuts: Cuts = "proportional"
    """How the cuts are spread over the chosen domains."""
    domains: Literal["all"] | Annotated[int, Meta(ge=1)] = "all"
    """L: "all" is L = N, a number takes those with the largest headroom."""
    total: Literal["fit", "m"] = "fit"
    """What the cuts add up to."""
    tmem: Literal["leave", "freeze", "flush"] = "leave"
    """Step 6: "freeze" stops new puts while a launch is under way, "flush" also frees what it lacks."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The host as sampled: step 1."""

    free: Pages
    running: tuple[DomainInfo, ...]
    """Domains whose max_pages may be cut."""
    building: tuple[DomainInfo, ...]
    """Paused domains that none of our own promises covers, and those that began to run just now."""
    commit: Commit


class Clamp(Scheme):
    """At any moment max_pages = lifetime maximum - cut, and every cut is known here (no leftovers)."""

    def __init__(self, parameters: Any) -> None:
        """See `ClampParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._parameters = parse_parameters(parameters, ClampParameters)
        self._cuts: dict[Key, Pages] = {}
        self._shares: dict[int, dict[Key, Pages]] = {}
        """With total = "m": each launch's own part of the cuts."""
        self._lifetime: dict[Key, Pages] = {}
        self._promised: dict[int, Launch] = {}
        self._in_turn = InTurn()
        self._freeze = TmemFreeze()
        if self._parameters.tmem != "leave":
            self.releases = TMEM_RELEASES

    async def admit_before_create(self, launch: Launch) -> bool:
        """Clamp, check, and admit; two launches of this toolstack never clamp at once."""
        await self._in_turn.run(launch.world, self._clamp(launch))
        return True

    async def release(self, launch: Launch) -> None:
        """Give the domains back what this launch needed of them, and nobody else still does."""
        await self._in_turn.run(launch.world, self._restore(launch))

    # ---- P2, steps 1 to 5

    async def _clamp(self, launch: Launch) -> None:
        await self._control_tmem(launch)
        sample = await self._sample(launch)
        spare = sample.free - self._promised_pages() - launch.need
        if spare < 0:
            raise LaunchRefusedError(f"{-spare} pages too few are free", sample.commit)
        before = dict(self._cuts)
        if self._parameters.total == "fit":
            wanted = self._fit(sample, spare)
        else:
            wanted = self._literal(sample, launch)
        await self._apply(launch.world, wanted)
        try:
            await self._check(launch.world)
        except LaunchRefusedError:
            self._shares.pop(launch.order.order, None)
            await self._apply(launch.world, before)
            raise
        self._promised[launch.order.order] = launch

    def _fit(self, sample: Sample, spare: Pages) -> dict[Key, Pages]:
        chosen = self._choose(sample.running)
        headrooms = [self._headroom(one) for one in chosen]
        excess = self._excess(sample, spare)
        if sum(headrooms) < excess:
            text = f"{len(chosen)} domains have {sum(headrooms)} pages of headroom to cut, {excess} needed"
            raise LaunchRefusedError(text, sample.commit)
        return dict(zip(map(_key, chosen), spread(self._parameters.cuts, excess, headrooms), strict=True))

    def _excess(self, sample: Sample, spare: Pages) -> Pages:
        """How far the growth that the limits allow goes beyond what may be taken."""
        growth = sum(self._headroom(one) for one in sample.running)
        growth += sum(max(one.max_pages - one.tot_pages, 0) for one in sample.building)
        return max(growth - spare, 0)

    def _literal(self, sample: Sample, launch: Launch) -> dict[Key, Pages]:
        chosen = self._choose(sample.running)
        if self._parameters.cuts == "equal" and chosen:
            cuts = literal_equal(launch.need, len(chosen))
        else:
            room = [max(self._headroom(one) - self._cuts.get(_key(one), 0), 0) for one in chosen]
            cuts = spread(self._parameters.cuts, launch.need, room)
        share = self._shares[launch.order.order] = dict(zip(map(_key, chosen), cuts, strict=True))
        return _added(self._cuts, share, 1)

    def _choose(self, running: Sequence[DomainInfo]) -> list[DomainInfo]:
        wanted = self._parameters.domains
        if wanted == "all":
            return list(running)
        return sorted(running, key=lambda one: -self._headroom(one))[:wanted]

    async def _check(self, world: CountingWorld) -> None:
        """Step 5. Any one over its limit: no. A domain that has gone is over nothing."""
        domains, commit = await read_domains(world)
        over = [
            f"domain {one.domid} by {one.tot_pages - self._limit(_key(one))} pages"
            for one in domains
            if self._cuts.get(_key(one)) and one.tot_pages > self._limit(_key(one))
        ]
        if over:
            more = f" and {len(over) - NAMED_MOST} more" if len(over) > NAMED_MOST else ""
            text = f"over the temporary limit: {', '.join(over[:NAMED_MOST])}{more}"
            raise LaunchRefusedError(text, commit)

    # ---- steps 6 and 7

    async def _control_tmem(self, launch: Launch) -> None:
        """Frozen first, so that what a flush frees is not put back."""
        if self._parameters.tmem == "leave":
            return
        await self._freeze.hold(launch.world, launch.order.order)
        if self._parameters.tmem == "flush":
            host, _ = await read_host(launch.world)
            lacking = launch.need + self._promised_pages() - host.free_pages
            if lacking > 0:
                await flush(launch.world, lacking)

    async def _restore(self, launch: Launch) -> None:
        was_promised = self._promised.pop(launch.order.order, None) is not None
        share = self._shares.pop(launch.order.order, {})
        if not self._promised:
            await self._apply(launch.world, {})
        elif self._parameters.total == "m":
            await self._apply(launch.world, _added(self._cuts, share, -1))
        elif was_promised:
            await self._refit(launch)
        await self._freeze.let_go(launch.world, launch.order.order)

    async def _refit(self, launch: Launch) -> None:
        """The cuts that the launches still under way need now, as far as headroom goes."""
        sample = await self._sample(launch)
        chosen = self._choose(sample.running)
        headrooms = [self._headroom(one) for one in chosen]
        excess = self._excess(sample, sample.free - self._promised_pages())
        cuts = spread(self._parameters.cuts, excess, headrooms)
        await self._apply(launch.world, dict(zip(map(_key, chosen), cuts, strict=True)))

    # ---- what all steps share

    async def _sample(self, launch: Launch) -> Sample:
        domains, _ = await read_domains(launch.world)
        if await self._learn_lifetimes(launch.world, [one for one in domains if _running(one)]):
            # The sample is to be as fresh as it can be when the limits are set.
            domains, _ = await read_domains(launch.world)
        host, commit = await read_host(launch.world)
        ours = {other.domid for other in self._promised.values()}
        if not launch.built:
            ours.add(launch.domid)  # to be created, or about to be destroyed
        running = tuple(one for one in domains if _running(one) and _key(one) in self._lifetime)
        building = tuple(one for one in domains if one not in running and one.domid not in ours)
        return Sample(host.free_pages, running, building, commit)

    async def _learn_lifetimes(self, world: CountingWorld, running: Sequence[DomainInfo]) -> bool:
        """True when there were domains never seen before."""
        there = {_key(one) for one in running}
        self._lifetime = {
            key: pages for key, pages in self._lifetime.items() if key in there or key in self._cuts
        }
        unseen = [one for one in running if _key(one) not in self._lifetime]
        if not unseen:
            return False
        replies = await world.multicall([StoreRead(static_max_path(one.domid)) for one in unseen])
        for one, reply in zip(unseen, replies, strict=True):
            static_max = _pages_of(reply.value.value) if isinstance(reply.value, StoreText) else 0
            as_built = static_max + MAXMEM_CONSTANT if static_max else one.max_pages
            # Built by a toolstack that leaves no such margin, or that left more: believe what is there.
            own_way = one.max_pages == static_max or one.max_pages > as_built
            self._lifetime[_key(one)] = one.max_pages if own_way else as_built
        return True

    async def _apply(self, world: CountingWorld, wanted: Mapping[Key, Pages]) -> None:
        """Make `wanted` the cuts: limits fall first, then rise, and only those that change are set.

        A cut is on record before its hypercall, so that a restore after whatever failure knows of it.
        """
        keys = sorted({**self._cuts, **wanted})
        changes = {key: wanted.get(key, 0) - self._cuts.get(key, 0) for key in keys}
        for key in sorted((key for key in keys if changes[key]), key=lambda key: -changes[key]):
            if changes[key] > 0:
                self._cuts[key] = wanted[key]
            limit = max(self._lifetime[key] - wanted.get(key, 0), 0)
            await world.hypercall(MaxMem(key[0], pages_to_kib(limit)))  # ESRCH: it left meanwhile
            self._cuts[key] = wanted.get(key, 0)
        self._cuts = {key: cut for key, cut in self._cuts.items() if cut}

    def _limit(self, key: Key) -> Pages:
        return max(self._lifetime[key] - self._cuts.get(key, 0), 0)

    def _headroom(self, domain: DomainInfo) -> Pages:
        """Up to the lifetime maximum, whatever is cut now."""
        return max(self._lifetime[_key(domain)] - domain.tot_pages, 0)

    def _promised_pages(self) -> Pages:
        return sum(_still_to_take(other) for other in self._promised.values())


def _key(domain: DomainInfo) -> Key:
    return domain.domid, domain.incarnation


def _running(domain: DomainInfo) -> bool:
    return not domain.flags & (DOMINF_PAUSED | DOMINF_DYING)


def _still_to_take(launch: Launch) -> Pages:
    """Xen's own share of a domain is taken before its first page."""
    return launch.pages - launch.populated if launch.populated else launch.need


def _pages_of(kib: str) -> Pages:
    return kib_to_pages(int(kib)) if kib.isdigit() else 0


def _added(cuts: Mapping[Key, Pages], share: Mapping[Key, Pages], sign: int) -> dict[Key, Pages]:
    return {key: max(cuts.get(key, 0) + sign * share.get(key, 0), 0) for key in {**cuts, **share}}
