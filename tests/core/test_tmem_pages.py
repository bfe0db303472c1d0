"""Putting, getting and flushing pages of transcendent memory, and what that does to the counters."""

from __future__ import annotations

import pytest

from hypervisor.core.tmem.state import TMEM_OWNER
from hypervisor.public.domctl import DestroyDomain, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import DecreaseReservation
from hypervisor.public.tmem import (
    TMEM_EPHEMERAL,
    TMEM_FLUSH,
    TMEM_PERSISTENT,
    TMEM_QUERY_FREEABLE_MB,
    TmemControl,
    TmemFlushPage,
    TmemNewPool,
    TmemOther,
    TmemPutPage,
)
from hypervisor.public.units import pages_to_kib
from tests.core.small_host import EVERY_RELEASE, SmallHost, singles
from tests.core.tmem_host import NO_FRAME, TmemHost

WITH_TMEM = ("4.3", "4.12")


@pytest.mark.rule("T1", "T8", "W14")
@pytest.mark.parametrize("name", EVERY_RELEASE)
def test_absent_is_enosys_and_switched_off_is_enodev(name: str) -> None:
    """From 4.13 on a tmem hypercall answers as an absent one; before, a host booted without it is ENODEV."""
    bench = SmallHost(name)
    guest = bench.create()
    expected = -Errno.ENODEV if name in WITH_TMEM else -Errno.ENOSYS
    for request in (TmemNewPool(TMEM_EPHEMERAL), TmemFlushPage(0, (1, 0, 0), 0), TmemOther(0)):
        assert bench.ret(request, guest) == expected
    control = bench.ret(TmemControl(TMEM_QUERY_FREEABLE_MB))
    assert control == (0 if name in WITH_TMEM else -Errno.ENOSYS)


@pytest.mark.rule("T10", "T11", "T20", "T24", "I7")
@pytest.mark.parametrize("name", WITH_TMEM)
def test_an_ephemeral_get_is_exclusive_and_its_page_stays_with_tmem(name: str) -> None:
    """A hit brings back what was put and removes it; the page goes to tmem's list, free is unchanged."""
    bench = TmemHost(name)
    guest = bench.client()
    pool = bench.pool(guest)
    before, tot = bench.free, bench.domain(guest.domid).tot_pages
    assert bench.put(guest, pool, 1, 0, content=41) == 1
    assert (bench.free, bench.tmem.freeable) == (before - 2, 2), "one page of data, one of metadata"
    assert bench.get(guest, pool, 1, 5) is None
    assert bench.get(guest, pool, 1, 0) == 41
    assert bench.get(guest, pool, 1, 0) is None
    assert (bench.free, len(bench.tmem.page_list)) == (before - 2, 2)
    assert bench.domain(guest.domid).tot_pages == tot


@pytest.mark.rule("T11")
def test_a_pool_without_any_page_says_so() -> None:
    """A get from an empty pool is EEMPTY and not a miss."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest)
    assert bench.reply_of_get(guest, pool, 1, 0).ret == -Errno.EEMPTY
    bench.put(guest, pool, 1, 0)
    assert bench.reply_of_get(guest, pool, 2, 0).ret == 0


@pytest.mark.rule("T22", "T24", "T25", "C21", "I7")
@pytest.mark.parametrize("name", WITH_TMEM)
def test_persistent_pages_stand_in_tot_pages_and_are_kept(name: str) -> None:
    """A persistent put raises tot_pages and draws a claim down; a get keeps the page, a flush gives it up."""
    bench = TmemHost(name)
    guest = bench.client()
    pool = bench.pool(guest, TMEM_PERSISTENT)
    assert bench.claim(guest, 10) == 0
    assert bench.put(guest, pool, 1, 0, content=7) == 1
    assert (bench.domain(guest.domid).tot_pages, bench.outstanding) == (3, 7)
    assert [bench.get(guest, pool, 1, 0) for _ in range(2)] == [7, 7]
    assert bench.flush(guest, pool, 1, 0) == 1
    assert (bench.domain(guest.domid).tot_pages, bench.outstanding) == (1, 9)
    assert len(bench.tmem.page_list) == 2


@pytest.mark.rule("T10", "T22", "T27")
def test_a_rewrite_works_at_max_pages_and_is_lost_above_it() -> None:
    """At tot == max a duplicate put replaces; once max is below tot it is ENOSPC and the old page is gone."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest, TMEM_PERSISTENT)
    for index in range(5):
        assert bench.put(guest, pool, 1, index, content=index) == 1
    tot = bench.domain(guest.domid).tot_pages
    bench.ret(MaxMem(guest.domid, pages_to_kib(tot)))
    assert bench.put(guest, pool, 1, 9) == -Errno.ENOMEM
    assert bench.put(guest, pool, 1, 2, content=99) == 1
    assert bench.get(guest, pool, 1, 2) == 99
    bench.ret(MaxMem(guest.domid, pages_to_kib(tot - 1)))
    assert bench.put(guest, pool, 1, 2, content=100) == -Errno.ENOSPC
    assert bench.get(guest, pool, 1, 2) is None
    assert bench.get(guest, pool, 1, 3) == 3


@pytest.mark.rule("T10", "T11")
def test_a_frame_that_is_not_the_callers_is_efault() -> None:
    """A bad frame stores nothing; a duplicate from one loses the old page; a get to one keeps it."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest)
    assert bench.ret(TmemPutPage(pool, (1, 0, 0), 0, NO_FRAME, 3), guest) == -Errno.EFAULT
    assert (bench.tmem.pages, bench.tmem.objects) == (0, 0)
    bench.put(guest, pool, 1, 0, content=3)
    good, bench.buffers[guest] = bench.buffers[guest], NO_FRAME
    assert bench.reply_of_get(guest, pool, 1, 0).ret == -Errno.EFAULT
    assert bench.put(guest, pool, 1, 0) == -Errno.EFAULT
    bench.buffers[guest] = good
    assert bench.get(guest, pool, 1, 0) is None


@pytest.mark.rule("T8", "T5", "T12")
def test_bad_keys_and_commands_are_errnos() -> None:
    """A pool out of range, one that is gone, and an unknown command: the errno of the rule, no exception."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest)
    assert bench.destroy_pool(guest, pool) == 1
    for bad in (pool, -1, 16, 2**31 - 1):
        assert bench.put(guest, bad, 1, 0) == -Errno.ENODEV
        assert bench.flush(guest, bad, 1, 0) == -Errno.ENODEV
        assert bench.destroy_pool(guest, bad) == 0
    pool = bench.pool(guest)
    assert bench.ret(TmemOther(50, pool), guest) == -Errno.ENOSYS
    assert bench.ret(TmemOther(0), guest) == -Errno.EOPNOTSUPP
    assert bench.flush(guest, pool, 1, 0) == 1, "a flush of nothing is done as well"
    assert bench.put(guest, pool, 2**64 - 1, 2**32 - 1) == 1
    assert bench.flush_object(guest, pool, 2**64 - 1) == 1
    assert bench.ret(TmemControl(TMEM_FLUSH), guest) == -Errno.EPERM


@pytest.mark.rule("T8")
def test_an_unknown_command_was_nothing_in_43() -> None:
    """4.3 answers 0 to a command it does not know."""
    bench = TmemHost("4.3")
    guest = bench.client()
    assert bench.ret(TmemOther(50, bench.pool(guest)), guest) == 0


@pytest.mark.rule("T28", "C30")
@pytest.mark.parametrize("name", WITH_TMEM)
def test_a_killed_clients_pages_go_to_the_list(name: str) -> None:
    """Data and metadata of all its pools go to tmem's list, persistent ones leave tot_pages first."""
    bench = TmemHost(name)
    guest = bench.client()
    ephemeral, persistent = bench.pool(guest), bench.pool(guest, TMEM_PERSISTENT)
    for index in range(20):
        bench.put(guest, ephemeral, 1, index)
        bench.put(guest, persistent, 1, index)
    held = bench.tmem.freeable + bench.domain(guest.domid).tot_pages - 1
    while bench.ret(DestroyDomain(guest.domid)) == -Errno.EAGAIN:
        pass
    assert (len(bench.tmem.page_list), bench.tmem.in_use, bench.tmem.pages) == (held, 0, 0)
    assert bench.host.find(guest.domid) is None
    assert bench.control(TMEM_FLUSH) == 4 * held
    assert bench.host.frames.held(TMEM_OWNER) == 0
    assert bench.host.xen_pages == 16


@pytest.mark.rule("T25", "A11")
def test_a_guest_cannot_name_the_frames_of_its_persistent_pages() -> None:
    """A decrease that names a frame of tmem's stops at it, although the page stands in tot_pages."""
    bench = TmemHost()
    guest = bench.client()
    bench.put(guest, bench.pool(guest, TMEM_PERSISTENT), 1, 0)
    mine = [mfn for mfn in bench.frames_of(guest) if mfn != bench.buffers[guest]]
    assert len(mine) == 2
    assert bench.ret(DecreaseReservation(guest.domid, singles(mine))) == 0


@pytest.mark.rule("T33", "T34", "T10")
def test_compressed_zeros_share_pages() -> None:
    """A hundred pages of zeros cost five pages of tot_pages, noise is stored whole."""
    bench = TmemHost(compress=True)
    guest = bench.client()
    pool = bench.pool(guest, TMEM_PERSISTENT)
    for index in range(100):
        assert bench.put(guest, pool, 1, index, content=0) == 1
    assert bench.domain(guest.domid).tot_pages == 1 + 5
    assert bench.get(guest, pool, 1, 50) == 0
    assert bench.put(guest, pool, 1, 50, content=8) == 1
    assert bench.domain(guest.domid).tot_pages == 1 + 6
    assert bench.get(guest, pool, 1, 50) == 8
