"""I7 by a model of its own: right answers pass, lost, stale and invented pages are named; the core agrees."""

from __future__ import annotations

import io
from random import Random

import pytest

from hypervisor.core.steps import Caller
from hypervisor.journal import JournalReader
from hypervisor.public.errors import Errno
from hypervisor.public.requests import Reply, Request
from hypervisor.public.tmem import (
    TMEM_EPHEMERAL,
    TMEM_PERSISTENT,
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
