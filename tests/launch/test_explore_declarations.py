"""What the core declares of a step is what the explorer leaves orders out by: it must not be too narrow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hypervisor.core.machine import Operation
from hypervisor.core.steps import Caller
from hypervisor.public.access import WritePage
from hypervisor.public.domctl import (
    DestroyDomain,
    DomainInfo,
    Frames,
    GetDomainInfo,
    MapForeign,
    MaxMem,
    UnmapForeign,
)
from hypervisor.public.memory import MEMF_POPULATE_ON_DEMAND, DecreaseReservation, PopulatePhysmap
from hypervisor.public.requests import Request
from hypervisor.public.sharing import RING_ENABLE, SharingRing, SharingShare
from hypervisor.public.units import DOMID_SELF
from launch.explore.footprint import Footprints, commute
from tests.core.sharing_host import CONTROL, SharingHost

Scene = tuple[SharingHost, Operation, Request, Caller]
"""A host, a request before the step in question, and what somebody else may do before or after that step."""


def _refused_copy() -> Scene:
    """A copy that max_pages refused goes back; the helper may listen by then, or come too late."""
    host = SharingHost()
    _, two = host.sharers()
    assert host.ret(MaxMem(two.domid, 0)) == 0
    writer = host.submit(WritePage(0, 7), two)
    host.step_until(writer, "give back")
    return host, writer, SharingRing(two.domid, RING_ENABLE), two


def _mapping_that_crashes() -> Scene:
    """A foreign mapping of an entry of an empty cache crashes the domain."""
    host = SharingHost()
    who = host.sharer(1)
    assert host.ret(PopulatePhysmap(who.domid, ((512, 1),), 0, MEMF_POPULATE_ON_DEMAND)) == 1
    return host, host.submit(MapForeign(who.domid, ((512, 1),))), GetDomainInfo(who.domid), who


def _dead(host: SharingHost, pages: int) -> tuple[Caller, tuple[tuple[int, int], ...], Operation]:
    """A dead domain whose last page somebody maps and whose last but one is on its way back."""
    who = host.sharer(pages)
    mapped = host.call(MapForeign(who.domid, ((1, pages - 1),))).value
    assert isinstance(mapped, Frames)
    decrease = host.submit(DecreaseReservation(who.domid, ((0, 1),)), who)
    host.step_until(decrease, "merge")
    while host.ret(DestroyDomain(who.domid)):
        pass
    return who, mapped.extents, decrease


def _last_page_of_a_decrease() -> Scene:
    """With a decrease's page back in the heap a dead domain leaves."""
    host = SharingHost()
    who, extents, decrease = _dead(host, 2)
    host.step_until(host.submit(UnmapForeign(who.domid, extents)), "merge")
    return host, decrease, MaxMem(who.domid, 0), who


def _last_page_of_a_mapping() -> Scene:
    """With the last mapped page back in the heap a dead domain leaves."""
    host = SharingHost()
    who, extents, _ = _dead(host, 2)
    unmap = host.submit(UnmapForeign(who.domid, extents))
    host.step_until(unmap, "merge")
    return host, unmap, MaxMem(who.domid, 0), who


def _populate_over_a_shared_page() -> Scene:
    """A populate makes what it replaces private, and the other sharer's page becomes a third's meanwhile."""
    host = SharingHost()
    one, two = host.sharers()
    three = host.sharer(1)
    mine, theirs = host.nominate(three, 0), host.nominate(two, 0)
    populate = host.submit(PopulatePhysmap(DOMID_SELF, ((0, 1),)), one)
    host.step_until(populate, "map")
    return host, populate, SharingShare(three.domid, 0, mine, two.domid, 0, theirs), one


SCENES = (
    _refused_copy,
    _mapping_that_crashes,
    _last_page_of_a_decrease,
    _last_page_of_a_mapping,
    _populate_over_a_shared_page,
)


def _outcome(scene: Callable[[], Scene], step_first: bool) -> tuple[object, ...]:
    """What can be told afterwards: both answers, whether the domain has crashed, how many steps it took."""
    host, operation, request, who = scene()
    if step_first:
        host.machine.step(operation)
    other = host.submit(request)
    while other.reply is None:
        host.machine.step(other)
    while host.machine.is_runnable(operation):
        host.machine.step(operation)
    answers = [None if one.reply is None else one.reply.ret for one in (operation, other)]
    domain = host.host.find(who.domid)
    value = other.reply.value
    told = (value.domid, value.flags) if isinstance(value, DomainInfo) else None
    return (*answers, told, domain is not None and domain.is_shut_down, host.machine.commit)


@pytest.mark.parametrize("scene", SCENES)
def test_a_step_whose_order_tells_is_declared_so(scene: Callable[[], Scene]) -> None:
    """Where the order of a step and another request changes an outcome, the two are not said to commute."""
    assert _outcome(scene, step_first=True) != _outcome(scene, step_first=False)
    host, operation, request, _ = scene()
    other = host.submit(request)
    footprints = Footprints()
    assert operation.pending is not None and other.pending is not None
    one = footprints.of(operation.pending, operation.caller.domid, host.host)
    assert not commute(one, footprints.of(other.pending, CONTROL.domid, host.host))
