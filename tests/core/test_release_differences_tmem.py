"""Every difference between releases that tmem shows: the rows of 1j about it, and section 3.

"tmem-freeable counts as available" is the row of 1j; with tmem gone from 4.13 on its hypercalls are absent
(W14). More of what only 4.3 or only 4.12 answers is in test_tmem_control.py and test_tmem_pages.py.
"""

from __future__ import annotations

import pytest

from hypervisor.core.releases import Release
from hypervisor.public.errors import Errno
from hypervisor.public.tmem import TMEM_EPHEMERAL, TMEM_PERSISTENT, TMEM_POOL_SHARED, TmemNewPool, TmemOther
from tests.core.release_differences import Difference, assert_answers, assert_switch_alone_decides, difference
from tests.core.small_host import SmallHost
from tests.core.tmem_host import TmemHost


def claim_on_what_tmem_could_give(preset: Release) -> int:
    """A claim of 10 pages more than are free, after a guest put 20 into an ephemeral pool."""
    bench = TmemHost(preset)
    guest, builder = bench.client(), bench.create()
    pool = bench.pool(guest)
    for index in range(20):
        bench.put(guest, pool, 1, index)
    return bench.claim(builder, bench.free + 10)


def new_pool(preset: Release) -> int:
    """The answer to tmem's NEW_POOL."""
    bench = SmallHost(preset, tmem=True)
    return bench.ret(TmemNewPool(TMEM_EPHEMERAL, (0, 0)), bench.create())


def unknown_command(preset: Release) -> int:
    """The answer to a tmem command that there is not."""
    bench = TmemHost(preset)
    guest = bench.client()
    return bench.ret(TmemOther(50, bench.pool(guest)), guest)


def put_without_room(preset: Release) -> int:
    """A put when ten evictions could not make the room that it is to have."""
    bench = TmemHost(preset)
    guest = bench.client()
    pool = bench.pool(guest, TMEM_PERSISTENT)
    bench.leave_free(bench.tmem.midsize + 100)
    return bench.put(guest, pool, 1, 0)


def sharing_without_leave(preset: Release) -> int:
    """What the second client of a shared pool gets of the first one's page, 0 for a miss."""
    bench = TmemHost(preset)
    a, b = bench.client(), bench.client()
    pools = [bench.pool(one, TMEM_EPHEMERAL | TMEM_POOL_SHARED, (1, 2)) for one in (a, b)]
    bench.put(a, pools[0], 1, 0, content=8)
    return bench.get(b, pools[1], 1, 0) or 0


def pages_for_descriptors(preset: Release) -> int:
    """Pages beyond the data that 200 persistent pages of one object cost their owner."""
    bench = TmemHost(preset)
    guest = bench.client()
    pool = bench.pool(guest, TMEM_PERSISTENT)
    for index in range(200):
        assert bench.put(guest, pool, 1, index) == 1
    return bench.domain(guest.domid).tot_pages - 1 - 200


# fmt: off
GONE = (
    difference("freeable counts as available", "tmem", ("C14", "C17", "T19"),
               claim_on_what_tmem_could_give, ("4.12", 0), ("4.17", -Errno.ENOMEM)),
    difference("tmem is absent", "tmem", ("W14", "T1"),
               new_pool, ("4.12", 0), ("4.17", -Errno.ENOSYS)),
)
CHANGED = (
    difference("an unknown command is refused", "tmem_unknown_command_refused", ("T8",),
               unknown_command, ("4.3", 0), ("4.12", -Errno.ENOSYS)),
    difference("a put needs room", "tmem_put_needs_room", ("T21",),
               put_without_room, ("4.3", 1), ("4.12", -Errno.ENOMEM)),
    difference("sharing needs leave", "tmem_shared_auth_required", ("T9", "T13"),
               sharing_without_leave, ("4.3", 8), ("4.12", 0)),
    difference("a page descriptor is smaller", "tmem_page_descriptor_bytes", ("T19",),
               pages_for_descriptors, ("4.3", 7), ("4.12", 6)),
)
# fmt: on
DIFFERENCES = GONE + CHANGED


@pytest.mark.parametrize("row", DIFFERENCES)
def test_the_two_releases_answer_differently(row: Difference) -> None:
    """The same script answers as the rules say for the last release before the change and the first after."""
    assert_answers(row)


@pytest.mark.parametrize("row", DIFFERENCES)
def test_one_switch_makes_the_difference(row: Difference) -> None:
    """The older preset with that one switch turned answers as the newer one."""
    assert_switch_alone_decides(row)
