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

calls = "one by one" | "multicall" | "atomic": a hypercall for each limit, then one to read; all in one
    message, whose requests others may still run between; or all in one atomic step. The last exists in no
    Xen: it is hypothesis H4's counterfactual, Campbell's "immediately check" at its very best. The sample,
    from which the cuts are computed, comes before it in every form.

Lifetime maxima, and what two toolstacks that clamp do to each other: see limits.py. Domains that are paused
(under construction elsewhere) are not cut, which would end their build, but count with all that their limit
lets them take. dom0 does not balloon, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hypervisor.public.domctl import DomainInfo
from hypervisor.public.points import point
from hypervisor.public.units import Commit, Pages
from toolstack.cuts import Cuts, literal_equal, spread
from toolstack.in_turn import InTurn
from toolstack.interface import (
    Launch,
    LaunchRefusedError,
    Scheme,
    parse_parameters,
    read_domains,
    read_host,
)
from toolstack.limits import Calls, CutLimits, Key, is_running, key_of
from toolstack.promises import Promises
from toolstack.tmem_controls import TMEM_RELEASES, TmemFreeze, flush

NAMED_MOST = 3
"""Domains that a refusal names; of more it gives the number."""


class ClampParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.clamp]."""

    cuts: Cuts = "proportional"
    """How the cuts are spread over the chosen domains. Range: equal, proportional, largest-slack."""
    domains: Literal["all"] | Annotated[int, Meta(ge=1)] = "all"
    """L: "all" is L = N, a number takes those with the largest headroom. Range: all, 1 to N."""
    total: Literal["fit", "m"] = "fit"
    """What the cuts add up to. Range: fit, m."""
    tmem: Literal["leave", "freeze", "flush"] = "leave"
    """Step 6: "freeze" stops new puts while a launch is under way, "flush" also frees what it lacks.
    Range: leave, freeze, flush."""
    calls: Calls = "one by one"
    """How limits are set and checked. Range: one by one, multicall, atomic (not in Xen: H4)."""


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

    origin = "P2: Campbell"
    parameters = ClampParameters

    def __init__(self, parameters: Any) -> None:
        """See `ClampParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._parameters = parse_parameters(parameters, ClampParameters)
        self._limits = CutLimits(self._parameters.calls)
        self._shares: dict[int, dict[Key, Pages]] = {}
        """With total = "m": each launch's own part of the cuts."""
        self._promised = Promises()
        self._in_turn = InTurn()
        self._freeze = TmemFreeze()
        if self._parameters.tmem != "leave":
            self.releases = TMEM_RELEASES

    async def admit_before_create(self, launch: Launch) -> bool:
        """Clamp, check, and admit; two launches of this toolstack never clamp at once."""
        await self._in_turn.run(launch.world, lambda: self._clamp(launch))
        return True

    async def release(self, launch: Launch) -> None:
        """Give the domains back what this launch needed of them, and nobody else still does."""
        await self._in_turn.run(launch.world, lambda: self._restore(launch))

    # ---- P2, steps 1 to 5

    async def _clamp(self, launch: Launch) -> None:
        await self._control_tmem(launch)
        launch.look_anew()
        sample = await self._sample(launch)
        await point(launch.world, "sampled")
        spare = sample.free - self._promised.pages - launch.need
        if spare < 0:
            raise LaunchRefusedError(f"{-spare} pages too few are free", sample.commit)
        before = dict(self._limits.cuts)
        if self._parameters.total == "fit":
            wanted = self._fit(sample, spare)
        else:
            wanted = self._literal(sample, launch)
        try:
            self._check(*await self._limits.apply_and_read(launch.world, wanted))
            await point(launch.world, "checked")
        except LaunchRefusedError:
            self._shares.pop(launch.order.order, None)
            await self._limits.apply(launch.world, before)
            raise
        self._promised.add(launch)

    def _fit(self, sample: Sample, spare: Pages) -> dict[Key, Pages]:
        chosen = self._choose(sample.running)
        headrooms = [self._limits.headroom(one) for one in chosen]
        excess = self._excess(sample, spare)
        if sum(headrooms) < excess:
            text = f"{len(chosen)} domains have {sum(headrooms)} pages of headroom to cut, {excess} needed"
            raise LaunchRefusedError(text, sample.commit)
        return dict(zip(map(key_of, chosen), spread(self._parameters.cuts, excess, headrooms), strict=True))

    def _excess(self, sample: Sample, spare: Pages) -> Pages:
        """How far the growth that the limits allow goes beyond what may be taken."""
        growth = sum(self._limits.headroom(one) for one in sample.running)
        growth += sum(max(one.max_pages - one.tot_pages, 0) for one in sample.building)
        return max(growth - spare, 0)

    def _literal(self, sample: Sample, launch: Launch) -> dict[Key, Pages]:
        chosen = self._choose(sample.running)
        if self._parameters.cuts == "equal" and chosen:
            cuts = literal_equal(launch.need, len(chosen))
        else:
            room = [
                max(self._limits.headroom(one) - self._limits.cuts.get(key_of(one), 0), 0) for one in chosen
            ]
            cuts = spread(self._parameters.cuts, launch.need, room)
        share = self._shares[launch.order.order] = dict(zip(map(key_of, chosen), cuts, strict=True))
        return _added(self._limits.cuts, share, 1)

    def _choose(self, running: Sequence[DomainInfo]) -> list[DomainInfo]:
        wanted = self._parameters.domains
        if wanted == "all":
            return list(running)
        return sorted(running, key=lambda one: -self._limits.headroom(one))[:wanted]

    def _check(self, domains: Sequence[DomainInfo], commit: Commit) -> None:
        """Step 5. Any one over its limit: no. A domain that has gone is over nothing."""
        limits = self._limits
        over = [
            f"domain {one.domid} by {one.tot_pages - limits.limit(key_of(one))} pages"
            for one in domains
            if limits.cuts.get(key_of(one)) and one.tot_pages > limits.limit(key_of(one))
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
            lacking = launch.need + self._promised.pages - host.free_pages
            if lacking > 0:
                await flush(launch.world, lacking)

    async def _restore(self, launch: Launch) -> None:
        """Limits first, then the thaw: that too when a limit could not be put back."""
        try:
            await self._restore_limits(launch)
        finally:
            await self._freeze.let_go(launch.world, launch.order.order)

    async def _restore_limits(self, launch: Launch) -> None:
        was_promised = self._promised.remove(launch)
        share = self._shares.pop(launch.order.order, {})
        if not self._promised:
            await self._limits.apply(launch.world, {})
        elif self._parameters.total == "m":
            await self._limits.apply(launch.world, _added(self._limits.cuts, share, -1))
        elif was_promised:
            await self._refit(launch)

    async def _refit(self, launch: Launch) -> None:
        """The cuts that the launches still under way need now, as far as headroom goes."""
        sample = await self._sample(launch)
        chosen = self._choose(sample.running)
        headrooms = [self._limits.headroom(one) for one in chosen]
        excess = self._excess(sample, sample.free - self._promised.pages)
        cuts = spread(self._parameters.cuts, excess, headrooms)
        await self._limits.apply(launch.world, dict(zip(map(key_of, chosen), cuts, strict=True)))

    # ---- what all steps share

    async def _sample(self, launch: Launch) -> Sample:
        domains, _ = await read_domains(launch.world)
        if await self._limits.learn(launch.world, [one for one in domains if is_running(one)]):
            # The sample is to be as fresh as it can be when the limits are set.
            domains, _ = await read_domains(launch.world)
        host, commit = await read_host(launch.world)
        ours = self._promised.domids
        if not launch.built:
            ours |= {launch.domid}  # to be created, or about to be destroyed
        running = tuple(one for one in domains if is_running(one) and key_of(one) in self._limits.lifetime)
        building = tuple(one for one in domains if one not in running and one.domid not in ours)
        return Sample(host.free_pages, running, building, commit)


def _added(cuts: Mapping[Key, Pages], share: Mapping[Key, Pages], sign: int) -> dict[Key, Pages]:
    return {key: max(cuts.get(key, 0) + sign * share.get(key, 0), 0) for key in {**cuts, **share}}
