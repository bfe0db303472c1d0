"""What every rival must do, whatever its policy: admit what fits, refuse what does not, leave nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import pytest

from hypervisor.public.orders import Stage
from tests.toolstack.virtual_toolstack import BIG, MIB, ReleaseHost, VirtualToolstack
from toolstack.accountant import Accountant
from toolstack.clamp import Clamp
from toolstack.clamp_to_tot import ClampToTot
from toolstack.forbid import Forbid
from toolstack.freeze import Freeze
from toolstack.interface import Scheme
from toolstack.lock import Lock
from toolstack.mediated import Mediated
from toolstack.optimistic import Optimistic
from toolstack.static import Static

RIVALS: Final[Mapping[str, Callable[[], Scheme]]] = MappingProxyType(
    {
        "clamp in one multicall": lambda: Clamp({"calls": "multicall"}),
        "clamp in one step": lambda: Clamp({"calls": "atomic"}),
        "clamp-to-tot": lambda: ClampToTot({}),
        "clamp-to-tot in one multicall": lambda: ClampToTot({"calls": "multicall"}),
        "static": lambda: Static({}),
        "forbid": lambda: Forbid({}),
        "forbid while building": lambda: Forbid({"when": "builds"}),
        "lock": lambda: Lock({}),
        "freeze": lambda: Freeze({}),
        "optimistic": lambda: Optimistic({}),
        "accountant": lambda: Accountant({}),
        "mediated": lambda: Mediated({}),
    }
)
each_rival = pytest.mark.parametrize("rival", RIVALS)


def lab_of(rival: str, ram: int = 256 * MIB, release: str = "4.12") -> VirtualToolstack:
    """A toolstack with that rival on a host of a release that all of them can run on."""
    return VirtualToolstack(RIVALS[rival](), ram=ram, host=ReleaseHost(ram, release))


@each_rival
def test_two_that_fit_are_built_and_everything_is_put_back(rival: str) -> None:
    """Two launches at once beside two guests: both built, then every maximum is the lifetime maximum."""
    lab = lab_of(rival)
    guests = [lab.host.build(16 * MIB, 24 * MIB)[0] for _ in range(2)]
    orders = [lab.order(32 * MIB), lab.order(32 * MIB, "pv-4.17")]
    lab.run(200.0)
    assert [lab.stages(order) for order in orders] == [[Stage.ADMITTED, Stage.BUILT]] * 2
    lab.dismiss()
    assert lab.service.farewell().leftovers == ()
    assert [lab.domain(guest.domid).max_pages for guest in guests] == [24 * MIB] * 2
    built = [lab.domain(lab.last(order).domid) for order in orders]
    assert [one.max_pages for one in built] == [32 * MIB + 256] * 2
    assert (lab.claimed, len(lab.domids)) == (0, 4)


@each_rival
def test_what_plainly_does_not_fit_is_refused_and_leaves_no_trace(rival: str) -> None:
    """Half of the need is free: refused, with a reason and a commit, no page moved, no maximum changed."""
    lab = lab_of(rival)
    guest, _ = lab.host.build(lab.free - BIG // 2, lab.free)
    most = lab.domain(guest.domid).max_pages
    free = lab.free
    order = lab.order()
    lab.run(200.0)
    refused = lab.last(order)
    assert (refused.stage, refused.pages_populated) == (Stage.REFUSED, 0)
    assert refused.reason
    assert refused.commit > 0
    lab.dismiss()
    assert (lab.free, lab.domids) == (free, [guest.domid])
    assert lab.domain(guest.domid).max_pages == most


@each_rival
def test_of_two_at_once_one_fits(rival: str) -> None:
    """Room for one and a half: one is built, the other refused before a page has moved."""
    lab = lab_of(rival)
    lab.host.build(lab.free - BIG - BIG // 2, lab.free - BIG - BIG // 2)
    orders = [lab.order(), lab.order()]
    lab.run(200.0)
    assert sorted(lab.last(order).stage for order in orders) == [Stage.BUILT, Stage.REFUSED]
    assert sorted(lab.last(order).pages_populated for order in orders) == [0, BIG - 0x20]


@each_rival
@pytest.mark.parametrize("steps", [0, 12, 30, 600, 3000])
def test_a_dismissal_at_any_moment_leaves_nothing_behind(rival: str, steps: int) -> None:
    """After any number of atomic steps: no half-built domain, no claim, no lowered maximum, no leftovers."""
    lab = lab_of(rival, 128 * MIB)
    guest, _ = lab.host.build(16 * MIB, 40 * MIB)
    lab.order(16 * MIB)
    lab.order(16 * MIB, "pv-4.17")
    end = lab.host.simulator.steps + steps
    lab.host.simulator.run(stop=lambda: lab.host.simulator.steps >= end)
    lab.dismiss()
    built = [one.domid for one in lab.outcomes if one.stage is Stage.BUILT]
    assert lab.domids == [guest.domid, *built]
    assert lab.claimed == 0
    assert lab.domain(guest.domid).max_pages == 40 * MIB
    assert [lab.domain(domid).max_pages for domid in built] == [16 * MIB + 256 for _ in built]
    assert lab.service.farewell().leftovers == ()
