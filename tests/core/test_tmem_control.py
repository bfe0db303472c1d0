"""Pools and the toolstack's control of tmem: kinds, sharing, freezing, weights, migration, listings."""

from __future__ import annotations

import pytest

from hypervisor.core.steps import Caller
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.errors import Errno
from hypervisor.public.tmem import (
    CLIENT_COMPRESS,
    CLIENT_FROZEN,
    CLIENT_MIGRATING,
    TMEM_DESTROY,
    TMEM_EPHEMERAL,
    TMEM_FLUSH,
    TMEM_FREEZE,
    TMEM_GET_CLIENT_INFO,
    TMEM_PERSISTENT,
    TMEM_POOL_PRECOMPRESSED,
    TMEM_POOL_SHARED,
    TMEM_SAVE_BEGIN,
    TMEM_SAVE_END,
    TMEM_SET_AUTH,
    TMEM_SET_CLIENT_INFO,
    TMEM_THAW,
    TmemClientInfo,
    TmemControl,
)
from tests.core.tmem_host import TmemHost

SHARED = TMEM_EPHEMERAL | TMEM_POOL_SHARED
NOBODY = 999


def allow(bench: TmemHost, who: Caller, uuid: tuple[int, int], auth: bool = True) -> int:
    return bench.ret(TmemControl(TMEM_SET_AUTH, who.domid, uuid=uuid, auth=auth))


def info(bench: TmemHost, who: Caller) -> TmemClientInfo:
    value = bench.call(TmemControl(TMEM_GET_CLIENT_INFO, who.domid)).value
    assert isinstance(value, TmemClientInfo)
    return value


@pytest.mark.rule("T2", "T3", "T7", "T9")
def test_a_client_has_sixteen_pools_and_gets_the_lowest_free_id() -> None:
    """Ids count up, a destroyed one is given again, the seventeenth pool is EPERM."""
    bench = TmemHost()
    guest = bench.client()
    assert [bench.pool(guest) for _ in range(16)] == list(range(16))
    assert bench.pool(guest) == -Errno.EPERM
    assert bench.destroy_pool(guest, 5) == 1
    assert bench.destroy_pool(guest, 5) == 0
    assert bench.pool(guest, TMEM_PERSISTENT) == 5


@pytest.mark.rule("T7", "T9")
@pytest.mark.parametrize(
    "flags",
    [0, 2 << 24, TMEM_EPHEMERAL | 1 << 4, TMEM_EPHEMERAL | TMEM_POOL_PRECOMPRESSED, TMEM_EPHEMERAL | 0x100],
)
def test_flags_that_do_not_fit_are_eperm(flags: int) -> None:
    """Wrong version, page size, precompressed data and reserved bits are refused, nothing is taken."""
    bench = TmemHost()
    guest = bench.client()
    bench.destroy_pool(guest, bench.pool(guest))
    free = bench.free
    assert bench.pool(guest, flags) == -Errno.EPERM
    assert bench.free == free


@pytest.mark.rule("T9", "T13")
def test_sharing_needs_authorisation_in_412_and_none_in_43() -> None:
    """Without SET_AUTH a shared pool silently becomes private in 4.12; 4.3 shares."""
    for name, hit in (("4.12", None), ("4.3", 8)):
        bench = TmemHost(name)
        a, b = bench.client(), bench.client()
        pool_a, pool_b = bench.pool(a, SHARED, (1, 2)), bench.pool(b, SHARED, (1, 2))
        bench.put(a, pool_a, 1, 0, content=8)
        assert bench.get(b, pool_b, 1, 0) == hit


@pytest.mark.rule("T13")
def test_authorisation_answers_as_recorded() -> None:
    """4.12: 16 slots, taking away what was not given is 1, an unknown or every client ENOMEM."""
    bench = TmemHost()
    guest = bench.client()
    assert [allow(bench, guest, (1, number)) for number in range(17)] == [1] * 16 + [-Errno.ENOMEM]
    assert allow(bench, guest, (9, 9), auth=False) == 1
    assert allow(bench, guest, (1, 3), auth=False) == 1
    assert allow(bench, guest, (1, 16)) == 1
    assert bench.control(TMEM_SET_AUTH, NOBODY) == -Errno.ENOMEM
    assert bench.control(TMEM_SET_AUTH) == -Errno.ENOMEM


@pytest.mark.rule("T13")
def test_authorisation_of_43_tells_what_was_not_given() -> None:
    """4.3: an unknown client is EINVAL, nothing to take away is 0, all clients at once works."""
    bench = TmemHost("4.3")
    guest = bench.client()
    bench.pool(guest)
    assert bench.control(TMEM_SET_AUTH, NOBODY) == -Errno.EINVAL
    assert allow(bench, guest, (1, 1), auth=False) == 0
    assert allow(bench, guest, (1, 1)) == 1
    assert bench.control(TMEM_SET_AUTH) == 1


@pytest.mark.rule("T9", "T11", "T19", "T31")
def test_a_sharer_that_leaves_makes_the_pool_unevictable() -> None:
    """Gets keep the page; who leaves takes what it got last; the rest can never be evicted."""
    bench = TmemHost()
    a, b = bench.client(), bench.client()
    for who in (a, b):
        assert allow(bench, who, (1, 2)) == 1
    pool_a, pool_b = bench.pool(a, SHARED, (1, 2)), bench.pool(b, SHARED, (1, 2))
    bench.put(a, pool_a, 1, 0, content=5)
    bench.put(b, pool_b, 2, 0, content=6)
    assert [bench.get(b, pool_b, 2, 0) for _ in range(2)] == [6, 6]
    assert bench.destroy_pool(b, pool_b) == 1
    assert (bench.get(a, pool_a, 1, 0), bench.get(a, pool_a, 2, 0)) == (5, None)
    freeable = bench.tmem.freeable
    bench.control(TMEM_FLUSH, arg=4000)
    assert 0 < bench.tmem.freeable < freeable, "the list is gone, the pages in use are not"
    assert bench.get(a, pool_a, 1, 0) == 5
    assert bench.put(a, pool_a, 3, 0, content=7) == 1
    assert bench.destroy_pool(a, pool_a) == 1
    assert bench.tmem.in_use == 0


@pytest.mark.rule("T9", "T28")
def test_the_owners_death_hands_a_shared_pool_to_the_next() -> None:
    """The owner takes what it got last; the next sharer owns the pool and goes on."""
    bench = TmemHost()
    a, b = bench.client(), bench.client()
    for who in (a, b):
        allow(bench, who, (1, 2))
    pool_a, pool_b = bench.pool(a, SHARED, (1, 2)), bench.pool(b, SHARED, (1, 2))
    bench.put(a, pool_a, 1, 0, content=5)
    bench.put(a, pool_a, 2, 0, content=6)
    assert bench.get(b, pool_b, 2, 0) == 6
    assert bench.ret(DestroyDomain(a.domid)) == 0
    assert (bench.get(b, pool_b, 1, 0), bench.get(b, pool_b, 2, 0)) == (None, 6)
    assert bench.put(b, pool_b, 3, 0, content=7) == 1
    assert bench.tmem.clients[b.domid].eph_count == 2


@pytest.mark.rule("T6", "T10", "T12", "T14")
@pytest.mark.parametrize("name", ("4.3", "4.12"))
def test_frozen_stops_new_puts_only(name: str) -> None:
    """Duplicates and gets go on, flushes act but say frozen; later clients are not frozen; DESTROY thaws."""
    bench = TmemHost(name)
    guest = bench.client()
    pool = bench.pool(guest, TMEM_PERSISTENT)
    bench.put(guest, pool, 1, 0)
    assert bench.control(TMEM_FREEZE) == 0
    later = bench.client()
    assert bench.put(later, bench.pool(later), 1, 0) == 1
    assert bench.put(guest, pool, 1, 1) == -Errno.EFROZEN
    assert bench.put(guest, pool, 2, 0) == -Errno.EFROZEN
    assert bench.put(guest, pool, 1, 0, content=4) == 1
    assert bench.get(guest, pool, 1, 0) == 4
    assert bench.flush(guest, pool, 1, 0) == -Errno.EFROZEN
    assert bench.get(guest, pool, 1, 0) is None
    assert bench.control(TMEM_DESTROY, guest.domid) == 0
    assert bench.put(guest, pool, 1, 1) == 1
    assert bench.control(TMEM_THAW, NOBODY) == -1
    assert bench.control(40) == -1


@pytest.mark.rule("T10")
def test_migrating_flushes_duplicates() -> None:
    """SAVE_BEGIN freezes; with live migration a duplicate put is ENOSPC and the page is gone."""
    bench = TmemHost()
    guest = bench.client()
    assert bench.control(TMEM_SAVE_BEGIN, guest.domid) == -Errno.ENOENT
    pool = bench.pool(guest, TMEM_PERSISTENT)
    for index in range(3):
        bench.put(guest, pool, 1, index)
    assert bench.control(TMEM_SAVE_BEGIN, guest.domid, 1) == 0
    assert info(bench, guest).flags == CLIENT_FROZEN | CLIENT_MIGRATING
    assert bench.put(guest, pool, 1, 0) == -Errno.ENOSPC
    assert bench.get(guest, pool, 1, 0) is None
    assert bench.control(TMEM_SAVE_END, guest.domid) == 0
    assert info(bench, guest).flags == 0
    assert bench.put(guest, pool, 1, 0) == 1
    assert bench.ret(DestroyDomain(guest.domid)) == 0
    assert bench.host.find(guest.domid) is None


@pytest.mark.rule("T16", "T30")
def test_weights_add_up_and_outlive_their_client() -> None:
    """SET_CLIENT_INFO moves the sum of weights; a client that dies leaves its own in it."""
    bench = TmemHost()
    a, b = bench.client(), bench.client()
    bench.pool(a), bench.pool(b)
    weights = TmemClientInfo(weight=7, flags=CLIENT_COMPRESS)
    assert bench.ret(TmemControl(TMEM_SET_CLIENT_INFO, info=weights)) == 0
    assert info(bench, a) == TmemClientInfo(nr_pools=1, flags=CLIENT_COMPRESS, weight=7)
    assert bench.ret(TmemControl(TMEM_SET_CLIENT_INFO, NOBODY, info=weights)) == -Errno.ENOENT
    wrong = TmemClientInfo(version=2)
    assert bench.ret(TmemControl(TMEM_SET_CLIENT_INFO, a.domid, info=wrong)) == -Errno.EOPNOTSUPP
    many = TmemClientInfo(maxpools=17)
    assert bench.ret(TmemControl(TMEM_SET_CLIENT_INFO, a.domid, info=many)) == -Errno.ERANGE
    bench.ret(DestroyDomain(a.domid))
    assert bench.lines()[-1].endswith("wt:14")


@pytest.mark.rule("T17")
def test_the_listing_counts_what_was_done() -> None:
    """Lines of host, client and pools, with every counter of LIST."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest)
    bench.put(guest, pool, 1, 0)
    bench.put(guest, pool, 1, 0)
    bench.put(guest, pool, 1, 1)
    bench.get(guest, pool, 1, 1)
    bench.get(guest, pool, 1, 1)
    bench.flush(guest, pool, 1, 5)
    total, client, of_pool, last = bench.lines()
    assert total.startswith("G=Tt:7,Te:0,Cf:0,Af:0,Pf:0,Ta:1,")
    assert client == f"C=CI:{guest.domid},ww:0,co:0,fr:0,Tc:0,Ge:1,Pp:0,Gp:0,Ec:1,Em:2,cp:0,cb:0,cn:0,cm:0"
    assert of_pool.startswith(f"P=CI:{guest.domid},PI:0,PT:EP,U0:0,U1:0,Pc:1,Pm:2,Oc:1,Om:1,Nc:0,Nm:1,")
    assert of_pool.endswith("ps:3,pt:3,pd:0,pr:1,px:0,gs:1,gt:2,fs:0,ft:1,os:0,ot:0")
    assert last == f"T=fp:3,fc:2,ms:{bench.tmem.midsize},wt:0"


@pytest.mark.rule("T14", "P9")
def test_a_control_operation_waits_for_a_put_under_way() -> None:
    """tmem's lock is held from a put's first step to its last; a populate needs not wait for it."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest)
    running = bench.submit(bench.request(guest, pool, 1, 0, 4), guest)
    bench.step_until(running, "take")
    freeze = bench.submit(TmemControl(TMEM_FREEZE))
    assert not bench.machine.is_runnable(freeze)
    assert bench.grow(guest, 1) == 1
    assert bench.finish(running).ret == 1
    assert bench.finish(freeze).ret == 0


@pytest.mark.rule("T10", "T28")
def test_a_client_killed_while_migrating_leaves_nothing_behind() -> None:
    """Descriptors kept for the migration go with their client."""
    bench = TmemHost()
    guest = bench.client()
    pool = bench.pool(guest, TMEM_PERSISTENT)
    for index in range(3):
        bench.put(guest, pool, 1, index)
    bench.control(TMEM_SAVE_BEGIN, guest.domid, 1)
    assert bench.flush(guest, pool, 1, 0) == -Errno.EFROZEN
    assert bench.ret(DestroyDomain(guest.domid)) == 0
    assert bench.host.find(guest.domid) is None
    assert not bench.tmem.persistent_frames
    assert len(bench.tmem.page_list) == 4, "three of data, one of metadata"
