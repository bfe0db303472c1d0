"""`freeze` on a host whose memory sits in ephemeral pages (T14-T16, H11)."""

from __future__ import annotations

import pytest

from hypervisor.public.errors import Errno
from hypervisor.public.orders import Stage
from tests.toolstack.test_tmem_controls import TmemLab
from tests.toolstack.virtual_toolstack import MIB
from toolstack.freeze import Freeze
from toolstack.need import need_memory

SMALL = 16 * MIB
NEED = need_memory("hvm-4.17", SMALL, 1)


def short_of_memory(scheme: Freeze, ephemeral: int = 3000) -> TmemLab:
    """All but some pages are a guest's; `ephemeral` of the rest are in tmem, so that a launch lacks some."""
    lab = TmemLab(scheme, ram=96 * MIB)
    lab.host.build(lab.free - NEED - 800, 96 * MIB)
    lab.fill(ephemeral)
    assert lab.free < NEED
    return lab


@pytest.mark.rule("T14", "T15", "T16")
@pytest.mark.parametrize("flushed", ["lacking", "freeable"])
def test_what_a_launch_lacks_is_flushed_and_puts_pass_again_afterwards(flushed: str) -> None:
    """Built with pages that tmem gave back; frozen until then, thawed at the end."""
    lab = short_of_memory(Freeze({"flush": flushed}))
    order = lab.order(SMALL)
    lab.run_until_outcome(order, Stage.ADMITTED)
    assert lab.put(9000) == -Errno.EFROZEN
    lab.run()
    assert lab.stages(order) == [Stage.ADMITTED, Stage.BUILT]
    assert lab.put(9001) == 1


@pytest.mark.rule("T16")
def test_what_tmem_cannot_free_is_refused_and_thawed() -> None:
    """Twice what is free and freeable: refused after asking, nothing flushed."""
    lab = short_of_memory(Freeze({}))
    free = lab.free
    order = lab.order(3 * SMALL)
    lab.run()
    assert lab.last(order).stage is Stage.REFUSED
    assert "tmem could free" in lab.last(order).reason
    assert lab.free == free
    assert lab.put(9000) == 1


def test_freeze_does_not_hold_back_a_balloon() -> None:
    """H11: a guest that balloons up in the middle of the build takes its pages, frozen tmem or not."""
    lab = short_of_memory(Freeze({}))
    order = lab.order(SMALL)
    lab.run_until_outcome(order, Stage.ADMITTED)
    lab.grow_at(0.0, lab.guest, 90 * MIB, 8 * MIB)
    lab.run()
    assert lab.stages(order) == [Stage.ADMITTED, Stage.FAILED]
