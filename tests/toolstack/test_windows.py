"""From when the window of a decision counts, in schemes that look again until they have an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import pytest

from hypervisor.public.memory import DecreaseReservation
from hypervisor.public.orders import Stage
from hypervisor.public.units import DOMID_SELF
from hypervisor.public.xenstore import StoreWrite, feature_balloon_path
from launch.simulate.world import SimWorld
from tests.toolstack.virtual_toolstack import MIB, ReleaseHost, VirtualToolstack
from toolstack.interface import Scheme
from toolstack.ledger import GENERATION
from toolstack.lock import Lock
from toolstack.need import need_memory
from toolstack.optimistic import Optimistic
from toolstack.squeezed import Squeezed

SMALL: Final = 16 * MIB
WAITING: Final[Mapping[str, Callable[[], Scheme]]] = MappingProxyType(
    {
        "lock": lambda: Lock({"autoballoon": False, "look_seconds": 1}),
        "squeezed": lambda: Squeezed({"dynamic_min_percent": 25, "success": "at target"}),
    }
)


@pytest.mark.parametrize("scheme", WAITING)
def test_a_scheme_that_waits_for_memory_is_dated_from_its_last_look(scheme: str) -> None:
    """Memory comes 5 s after the first look: the look that found it is the sample, not the first one."""
    lab = VirtualToolstack(WAITING[scheme](), ram=128 * MIB)
    need = need_memory("hvm-4.17", SMALL, 1) + (0 if scheme == "lock" else 9 * MIB)
    guest, _ = lab.host.build(lab.free - need // 2, 200 * MIB)
    if scheme == "squeezed":
        lab.host.control(StoreWrite(feature_balloon_path(guest.domid), "1"))
    order = lab.order(SMALL)
    lab.run(lab.host.now + 4.0)
    assert not lab.of(order), "it waits"
    before = lab.machine.commit
    future = guest.hypercall(DecreaseReservation(DOMID_SELF, ((0, 3 * need),)))
    admitted = lab.run_until_outcome(order, Stage.ADMITTED)
    assert future.result().ret > 0
    assert before < admitted.sampled <= admitted.commit


def test_an_optimistic_decision_is_dated_from_the_try_that_was_unopposed() -> None:
    """Another toolstack decides while the first try is on its way: the last try's readings are the sample."""
    lab = VirtualToolstack(Optimistic({}), host=ReleaseHost())
    rival = lab.host.simulator.world(0, 99, lab.world.rng)
    rival.spawn(_decide_for_a_while(rival), "rival")
    order = lab.order(SMALL)
    admitted = lab.run_until_outcome(order, Stage.ADMITTED)
    lab.dismiss()
    assert lab.service.farewell().notes["conflicts"] > 0
    assert admitted.commit - admitted.sampled < 12


async def _decide_for_a_while(world: SimWorld) -> None:
    for number in range(200):
        await world.hypercall(StoreWrite(GENERATION, str(number)))
