"""`static`: count max_pages and nothing else (P3).

A launch is admitted while the lifetime maxima of all domains, its own included, add up to no more than the
memory that domains can have. Then every domain may grow to its maximum at any time and no build can fail:
nobody is looked after, nothing is lowered, nothing has to be put back. The price is the one that the debate
names: it ignores ballooning, so a host of guests that use half of their maximum stays half empty.

`overcommit_percent` above 100 sells that half; a build may then fail late like one of `naive`'s.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from hypervisor.public.domctl import DomainInfo
from hypervisor.public.units import Pages
from toolstack.in_turn import InTurn
from toolstack.interface import (
    Launch,
    LaunchRefusedError,
    Scheme,
    parse_parameters,
    read_domains,
    read_host,
)
from toolstack.limits import CutLimits, is_running, key_of
from toolstack.need import MAXMEM_CONSTANT


class StaticParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.static]."""

    overcommit_percent: Annotated[int, Meta(ge=1, le=1000)] = 100
    """The maxima may add up to this share of what domains can have. Range: 100 to 200."""


class Static(Scheme):
    """Sum of maxima against memory: two reads for each launch, nothing to undo."""

    origin = "P3: rejected in the commit message of the claim hypercall"
    parameters = StaticParameters

    def __init__(self, parameters: Any) -> None:
        """See `StaticParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._share = parse_parameters(parameters, StaticParameters).overcommit_percent
        self._known = CutLimits()
        """Never cuts; knows the lifetime maximum of a domain that another toolstack has clamped."""
        self._launches: dict[int, Launch] = {}
        self._in_turn = InTurn()

    async def admit_before_create(self, launch: Launch) -> bool:
        """Add up, and admit; two launches of this toolstack never count at once."""
        await self._in_turn.run(launch.world, lambda: self._admit(launch))
        return True

    async def release(self, launch: Launch) -> None:
        """From now on the domain list says what it counts for."""
        self._launches.pop(launch.order.order, None)

    async def _admit(self, launch: Launch) -> None:
        domains, _ = await read_domains(launch.world)
        await self._known.learn(launch.world, [one for one in domains if is_running(one)])
        host, commit = await read_host(launch.world)
        ours = {other.domid: other for other in self._launches.values()}
        maxima = sum(self._maximum(one) for one in domains if one.domid not in ours)
        maxima += sum(_left_to_reserve(other) for other in self._launches.values())
        capacity = host.free_pages + sum(one.tot_pages for one in domains if one.domid not in ours)
        wanted = maxima + _left_to_reserve(launch)
        if wanted > capacity * self._share // 100:
            text = f"maxima of {wanted} pages with this one, {capacity * self._share // 100} to be had"
            raise LaunchRefusedError(text, commit)
        self._launches[launch.order.order] = launch

    def _maximum(self, domain: DomainInfo) -> Pages:
        """A clamp of somebody else's may have put tot_pages above max_pages for a while."""
        lifetime = self._known.lifetime.get(key_of(domain), domain.max_pages)
        return max(lifetime, domain.tot_pages)


def _left_to_reserve(launch: Launch) -> Pages:
    """Of a launch under way: its maximum less what is in place, and Xen's own share until that is taken."""
    overhead = 0 if launch.populated else launch.need - launch.pages
    return launch.order.max_pages + MAXMEM_CONSTANT - launch.populated + overhead
