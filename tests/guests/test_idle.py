"""An idle guest costs nothing, and is there at once when it is needed."""

from __future__ import annotations

from typing import Any

from guests.config import ConstantSpec, SineSpec
from hypervisor.public.units import PAGES_PER_MIB
from tests.virtual_host import Guest, VirtualHost

MIB = PAGES_PER_MIB


def sleeps_of(guest: Guest) -> list[float]:
    """Every sleep of a guest from now on, with its length."""
    slept: list[float] = []
    sleep: Any = guest.world.sleep

    def counted(seconds: float) -> Any:
        slept.append(seconds)
        return sleep(seconds)

    guest.world.sleep = counted  # type: ignore[method-assign]
    return slept


def test_an_idle_guest_sleeps_through_its_ticks() -> None:
    """Ten minutes of a met, constant demand are a handful of sleeps; of a moving one, one for each tick."""
    counts: list[int] = []
    for workload in (ConstantSpec(64 * MIB), SineSpec(48 * MIB, 0, 60.0)):
        host = VirtualHost()
        guest = Guest(host, 64 * MIB, 96 * MIB, headroom=1.0, tick=1.0, workload=workload)
        slept = sleeps_of(guest)
        host.run_until(600.0)
        counts.append(len(slept))
    assert counts[0] < 10 and counts[1] >= 600


def test_an_idle_guest_minds_its_own_demand_again() -> None:
    """A target from outside is obeyed at once, and taken back at the next tick, as if never asleep."""
    host = VirtualHost()
    guest = Guest(host, 64 * MIB, 96 * MIB, headroom=2.0, tick=5.0, workload=ConstantSpec(32 * MIB))
    host.run_until(301.0)
    host.set_target(guest.domid, 48 * MIB)
    host.run_until(304.5)
    assert guest.tot_pages() == 48 * MIB
    host.run_until(306.0)
    assert guest.tot_pages() == 64 * MIB


def test_a_guest_can_be_stopped_in_its_sleep() -> None:
    """stop() ends an idle guest with its report at once."""
    host = VirtualHost()
    guest = Guest(host, 64 * MIB, 96 * MIB, headroom=1.0, workload=ConstantSpec(64 * MIB))
    host.run_until(100.0)
    guest.kernel.stop()
    host.run_until(100.0)
    assert guest.task.done() and guest.report().ending == "stopped"
