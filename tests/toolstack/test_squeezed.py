"""squeezed at work on guests with real balloon drivers, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from guests.config import ConstantSpec
from hypervisor.public.orders import Stage
from hypervisor.public.units import Pages
from hypervisor.public.xenstore import memory_target_path, uncooperative_path
from tests.toolstack.virtual_toolstack import MIB, VirtualToolstack
from tests.virtual_host import Guest
from toolstack.squeezed import Squeezed

POOL = 9 * MIB


def host_with(
    count: int, pages: Pages = 48 * MIB, static_max: Pages = 48 * MIB, **changes: Any
) -> tuple[VirtualToolstack, list[Guest]]:
    """A squeezed host with guests that follow memory/target and use 16 MiB each."""
    lab = VirtualToolstack(Squeezed({}))
    workload = ConstantSpec(pages=16 * MIB)
    options: dict[str, Any] = {"workload": workload, "self_sizing": False, **changes}
    return lab, [Guest(lab.host, pages, static_max, **options) for _ in range(count)]


def test_guests_give_what_a_launch_needs_and_no_more() -> None:
    """100 MiB for a host with 77 free: three guests are squeezed in proportion, and it is built."""
    lab, guests = host_with(3)
    lab.run(lab.host.now + 30.0)
    order = lab.order(100 * MIB)
    admitted = lab.run_until_outcome(order, Stage.ADMITTED)
    sizes = [guest.tot_pages() for guest in guests]
    assert max(sizes) - min(sizes) <= 128
    assert 24 * MIB < sizes[0] < 40 * MIB
    assert all(lab.domain(one.domid).max_pages <= one.tot_pages() + 256 + 128 for one in guests)
    lab.run(admitted.time + 60.0)
    assert lab.stages(order) == [Stage.ADMITTED, Stage.BUILT]
    assert lab.free >= POOL - 2 * MIB


def test_what_was_squeezed_is_handed_back_and_everything_is_restored_at_the_end() -> None:
    """The launched domain goes: guests are raised again; dismissed: limits and targets as found."""
    lab, guests = host_with(3, static_max=56 * MIB)
    before = [lab.domain(guest.domid).max_pages for guest in guests]
    order = lab.order(90 * MIB)
    built = lab.run_until_outcome(order, Stage.BUILT)
    assert sum(guest.tot_pages() for guest in guests) < 3 * 48 * MIB
    lab.destroy(order, built.domid)
    lab.run(built.time + 60.0)
    assert all(guest.tot_pages() > 52 * MIB for guest in guests)
    lab.dismiss()
    assert [lab.domain(guest.domid).max_pages for guest in guests] == before
    assert [lab.node(memory_target_path(guest.domid)) for guest in guests] == [str(48 * MIB * 4)] * 3
    assert lab.service.farewell().leftovers == ()


@pytest.mark.rule("Q3")
def test_a_stuck_guest_is_found_out_held_and_marked() -> None:
    """The launch that needs it is refused and names it; 25 s later it is marked; the others are not."""
    lab, guests = host_with(2)
    stuck = Guest(
        lab.host,
        48 * MIB,
        48 * MIB,
        workload=ConstantSpec(pages=16 * MIB),
        self_sizing=False,
        behaviour="stuck",
    )
    lab.run(lab.host.now + 15.0)
    order = lab.order(132 * MIB)
    refused = lab.run_until_outcome(order, Stage.REFUSED)
    assert refused.reason.startswith(f"Domains_refused_to_cooperate: {stuck.domid}:")
    lab.run(refused.time + 60.0)
    assert stuck.tot_pages() == 48 * MIB
    assert all(guest.tot_pages() > 40 * MIB for guest in guests), "the others are handed theirs back"
    assert lab.node(uncooperative_path(stuck.domid)) == "1"
    lab.dismiss()
    assert lab.node(uncooperative_path(stuck.domid)) is None


@pytest.mark.rule("Q1")
def test_what_cannot_be_freed_is_refused_at_once_and_nobody_is_squeezed() -> None:
    """More than free memory and all dynamic ranges together: Cannot_free_this_much_memory."""
    lab, guests = host_with(3)
    lab.run(lab.host.now + 60.0)
    before = [guest.tot_pages() for guest in guests]
    order = lab.order(180 * MIB)
    refused = lab.run_until_outcome(order, Stage.REFUSED)
    assert refused.reason.startswith("Cannot_free_this_much_memory")
    assert [guest.tot_pages() for guest in guests] == before


def test_reservations_of_launches_at_once_add_up() -> None:
    """Three launches where guests can give room for two and a bit: two built, one refused, none late."""
    lab, _ = host_with(3)
    orders = [lab.order(60 * MIB) for _ in range(3)]
    lab.run(lab.host.now + 200.0)
    stages = sorted(lab.last(order).stage for order in orders)
    assert stages == [Stage.BUILT, Stage.BUILT, Stage.REFUSED]
    assert not [one for one in lab.outcomes if one.stage is Stage.FAILED]


@pytest.mark.parametrize("steps", [0, 60, 700, 9000])
def test_a_dismissal_at_any_moment_puts_everything_back(steps: int) -> None:
    """Amid squeezing, building or balancing: limits and targets as found, no half-built domain."""
    lab, guests = host_with(2, pages=80 * MIB, static_max=80 * MIB)
    before = [lab.domain(guest.domid).max_pages for guest in guests]
    lab.order(80 * MIB)
    end = lab.host.simulator.steps + steps
    lab.host.simulator.run(stop=lambda: lab.host.simulator.steps >= end)
    lab.dismiss()
    built = [one.domid for one in lab.outcomes if one.stage is Stage.BUILT]
    assert lab.domids == [*(guest.domid for guest in guests), *built]
    assert [lab.domain(guest.domid).max_pages for guest in guests] == before
    assert [lab.node(memory_target_path(guest.domid)) for guest in guests] == [str(80 * MIB * 4)] * 2
    assert [lab.domain(domid).max_pages for domid in built] == [80 * MIB + 256 for _ in built]
    assert lab.service.farewell().leftovers == ()
