"""What a guest can make populate on demand cost: memory for its entries, work for a sweep (A9, A30)."""

from __future__ import annotations

import tracemalloc

import pytest

from hypervisor.core.heap.p2m import PhysMap
from hypervisor.core.machine import run_alone
from hypervisor.core.pod import state
from hypervisor.core.pod.touch import SWEEP_LIMIT
from hypervisor.public.access import WritePage
from hypervisor.public.memory import MEMF_POPULATE_ON_DEMAND, DecreaseReservation, PopulatePhysmap
from hypervisor.public.units import PAGE_SHIFT, Gfn
from tests.core.pod_requests import START, figures, mark, target
from tests.core.small_host import SmallHost


@pytest.mark.rule("A9")
def test_marking_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request cannot make the hypervisor remember more than REGIONS_LIMIT regions for a domain, 1 TiB."""
    assert state.REGIONS_LIMIT << (9 + PAGE_SHIFT) == 1 << 40
    giants = 3
    monkeypatch.setattr(state, "REGIONS_LIMIT", giants << 9)  # as many take seconds
    host = SmallHost()
    who = host.create(hvm=True)
    request = PopulatePhysmap(who.domid, ((0, giants + 9),), 18, MEMF_POPULATE_ON_DEMAND)
    assert run_alone(host.machine, who, request).ret == giants
    pod, above = host.domain(who.domid).pod, giants << 18
    assert pod.entries == pod.marked_gfns() == above
    assert [mark(host, who, gfn, 1, order) for gfn, order in ((above, 0), (above, 9), (above - 1, 1))] == [
        0
    ] * 3
    assert mark(host, who, 0, 3, 9) == 3, "marked already"
    assert host.ret(DecreaseReservation(who.domid, ((START, 1),), 9)) == 1
    assert mark(host, who, above, 600) == 512, "the room of one region"
    assert pod.entries == pod.marked_gfns() == above


@pytest.mark.rule("A9")
def test_a_marked_region_is_remembered_in_little() -> None:
    """Full regions share their mask: a giant extent costs less than 140 bytes a region."""
    host = SmallHost()
    who = host.create(hvm=True)
    request = PopulatePhysmap(who.domid, ((0, 40),), 18, MEMF_POPULATE_ON_DEMAND)
    tracemalloc.start()
    assert run_alone(host.machine, who, request).ret == 40
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 40 * 512 * 140


@pytest.mark.rule("A30")
def test_a_sweep_costs_by_pages_and_not_by_gfns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that touches a gfn near 2^36 has a sweep look at its few pages, not at every gfn below."""
    host = SmallHost()
    who = host.create(hvm=True)
    top = (1 << 36) - 2
    for gfn in (START, top):
        assert mark(host, who, gfn, 2) == 2
    target(host, who, 2)
    assert host.ret(WritePage(START, 0), who) == host.ret(WritePage(top, 5), who) == 0
    looked: list[Gfn] = []
    lookup = PhysMap.lookup

    def counted(physmap: PhysMap, gfn: Gfn) -> int | None:
        looked.append(gfn)
        assert len(looked) < 4 * 512, "every gfn is looked at"
        return lookup(physmap, gfn)

    monkeypatch.setattr(PhysMap, "lookup", counted)
    host.step(host.submit(WritePage(top + 1, 5), who))
    monkeypatch.undo()
    assert figures(host, who) == (2, 0, 2)
    assert host.domain(who.domid).pod.is_entry(START)


@pytest.mark.rule("A30")
@pytest.mark.parametrize("zeros", [(5,), (700, 3), (2900, 2000), (2900, 1876), (2900, 1875, 40), ()])
def test_where_a_sweep_stops(zeros: tuple[Gfn, ...]) -> None:
    """A sweep that leaves holes out finds the same and stops at the same gfn as one over every gfn."""
    host = SmallHost()
    who = host.create(hvm=True)
    written = (2900, 2000, 1876, 1875, 700, 40, 3)
    for gfn in (0, *written, *zeros, 2901):
        assert mark(host, who, gfn, 1) == 1
    pages = len({0, *written, *zeros})
    target(host, who, pages)
    for gfn in (0, *written, *zeros):
        assert host.ret(WritePage(gfn, 0 if gfn in (0, *zeros) else 9), who) == 0
    pod = host.domain(who.domid).pod
    assert pod.count == 0
    found, stopped = swept(pod.highest_touched, zeros)
    operation = host.submit(WritePage(2901, 0), who)
    host.step(operation)
    assert pod.sweep_from == stopped
    assert host.domain(who.domid).is_shut_down == (not found)
    assert [gfn for gfn in (*written, *zeros, 0) if pod.is_entry(gfn)] == [
        gfn for gfn in (*written, *zeros, 0) if gfn in found
    ]


def swept(gfn: Gfn, zeros: tuple[Gfn, ...]) -> tuple[list[Gfn], Gfn]:
    """p2m_pod_emergency_sweep as it is written: (the gfns taken back, where it stopped)."""
    start, found = gfn, list[Gfn]()
    while gfn > 0:
        if gfn in zeros:
            found.append(gfn)
        gfn -= 1
        if gfn < start - SWEEP_LIMIT and found:
            break
    return found, gfn
