"""I7 by a model of its own: right answers pass, lost, stale and invented pages are named; the core agrees."""

from __future__ import annotations

import io
import tracemalloc
from random import Random

import pytest
from msgspec import structs

from hypervisor.core.steps import Caller
from hypervisor.journal import JournalReader
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.errors import Errno
from hypervisor.public.requests import Reply, Request
from hypervisor.public.tmem import (
    TMEM_EPHEMERAL,
    TMEM_PERSISTENT,
    TMEM_POOL_SHARED,
    TmemDestroyPool,
    TmemFlushObject,
    TmemFlushPage,
    TmemGetPage,
    TmemNewPool,
    TmemPage,
    TmemPutPage,
)
from launch.check.replay import Replay
from launch.check.tmem_model import TmemModel
from tests.launch.journals import HandMade

GUEST = Caller(3, 5)
OID = (1, 2, 3)


def model(flags: int) -> TmemModel:
    """With one pool, number 0."""
    made = TmemModel()
    assert made.finished(GUEST, TmemNewPool(flags), Reply(0, 1, 1)) is None
    return made


def put(content: int, index: int = 0) -> TmemPutPage:
    """Into pool 0."""
    return TmemPutPage(0, OID, index, 7, content)


def said(made: TmemModel, request: Request, ret: int, content: int | None = None) -> str | None:
    """What the model says to that answer."""
    return made.finished(GUEST, request, Reply(ret, 1, 1, None if content is None else TmemPage(content)))


GET = TmemGetPage(0, OID, 0, 7)


@pytest.mark.rule("T10", "T11")
def test_a_persistent_page_is_found_until_it_is_flushed() -> None:
    """A miss of it, a stale hit, and a hit after the flush are named."""
    made = model(TMEM_PERSISTENT)
    assert said(made, put(5), 1) is None
    assert said(made, GET, 1, 5) is None and said(made, GET, 1, 5) is None
    assert "lost" in str(said(made, GET, 0))
    assert "stale" in str(said(made, GET, 1, 6))
    assert said(made, put(6), 1) is None and "stale" in str(said(made, GET, 1, 5))
    assert said(made, TmemFlushPage(0, OID, 0), 1) is None
    assert said(made, GET, 0) is None and "never put" in str(said(made, GET, 1, 6))


@pytest.mark.rule("T11")
def test_a_hit_in_a_private_ephemeral_pool_takes_the_page() -> None:
    """It may miss at any time; a second hit is named, and so is one after a miss."""
    made = model(TMEM_EPHEMERAL)
    said(made, put(5), 1)
    assert said(made, GET, 1, 5) is None and "never put" in str(said(made, GET, 1, 5))
    said(made, put(5), 1)
    assert said(made, GET, 0) is None and "never put" in str(said(made, GET, 1, 5))


@pytest.mark.rule("T10")
def test_a_failed_put_may_lose_the_page_and_never_changes_it() -> None:
    """After ENOMEM old content or a miss is right, the new content is not."""
    made = model(TMEM_PERSISTENT)
    said(made, put(5), 1)
    said(made, put(6), -Errno.ENOMEM)
    assert said(made, GET, 1, 5) is None and said(made, GET, 0) is None
    assert "stale" in str(said(made, GET, 1, 6))
    said(made, put(7, 1), 1)
    said(made, TmemFlushObject(0, OID), 1)
    assert said(made, TmemGetPage(0, OID, 1, 7), -Errno.EEMPTY) is None


@pytest.mark.parametrize("flags", [TMEM_EPHEMERAL, TMEM_PERSISTENT])
def test_the_core_keeps_what_it_was_given(flags: int) -> None:
    """Random puts, gets and flushes through the core: a replay of the journal finds no break."""
    lab = HandMade("4.12", 2400, tmem=True)
    guest = lab.domain(60, 300)
    rng = Random(4)
    assert lab.do(TmemNewPool(flags), guest).ret == 0
    hits = 0
    for _ in range(600):
        oid, index = (rng.randrange(2), 0, 0), rng.randrange(12)
        request = rng.choice(
            (
                TmemPutPage(0, oid, index, 1, rng.randrange(1, 9)),
                TmemPutPage(0, oid, index, 1, rng.randrange(1, 9)),
                TmemGetPage(0, oid, index, 1),
                TmemFlushPage(0, oid, index),
            )
        )
        reply = lab.do(request, guest)
        hits += isinstance(request, TmemGetPage) and reply.ret == 1
    assert hits > 10
    replay = Replay(JournalReader(io.BytesIO(lab.journal())), "journal", lambda _: None)
    assert sum(1 for _ in replay.finished()) > 150
    assert not replay.findings


SHARED = TmemNewPool(TMEM_EPHEMERAL | TMEM_POOL_SHARED, (7, 7))
OTHER = Caller(4, 6)


def test_a_shared_page_is_what_a_member_put_there_last() -> None:
    """What another member put is right, what it had put before is not, nor another uuid's."""
    made = TmemModel()
    for caller in (GUEST, OTHER):
        assert made.finished(caller, SHARED, Reply(0, 1, 1)) is None
    assert made.finished(OTHER, structs.replace(SHARED, uuid=(8, 8)), Reply(1, 1, 1)) is None
    for content in (5, 6):
        assert made.finished(OTHER, put(content), Reply(1, 1, 1)) is None
    assert made.finished(OTHER, TmemPutPage(1, OID, 0, 7, 9), Reply(1, 1, 1)) is None
    assert said(made, GET, 1, 6) is None
    assert "nobody put" in str(said(made, GET, 1, 5)) and "nobody put" in str(said(made, GET, 1, 9))
    assert made.finished(OTHER, TmemDestroyPool(0), Reply(1, 1, 1)) is None
    assert said(made, GET, 1, 6) is None  # it may have stayed
    assert "nobody put" in str(said(made, GET, 1, 5))
    assert said(made, put(7), 1) is None and said(made, TmemFlushPage(0, OID, 0), 1) is None
    assert "nobody put" in str(said(made, GET, 1, 7))


def test_the_model_remembers_no_more_of_a_long_run_than_of_a_short_one() -> None:
    """Other contents under the same names, pools and clients that come and go: its memory stays as it is."""

    def peak(rounds: int) -> int:
        made = TmemModel()
        made.finished(OTHER, SHARED, Reply(0, 1, 1))
        tracemalloc.start()
        try:
            for number in range(1000, 1000 + rounds):  # smaller numbers are no objects of their own
                guest = Caller(5 + number % 3, number)
                for pool, flags in enumerate((TMEM_EPHEMERAL | TMEM_POOL_SHARED, TMEM_PERSISTENT)):
                    made.finished(guest, TmemNewPool(flags, (7, 7)), Reply(pool, 1, 1))
                    for index in range(8):
                        made.finished(guest, TmemPutPage(pool, OID, index, 7, number), Reply(1, 1, 1))
                made.finished(OTHER, put(1000 + number), Reply(1, 1, 1))
                made.finished(Caller(0, 1), DestroyDomain(guest.domid), Reply(0, 1, 1))
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert peak(1000) < 1.5 * peak(100)
