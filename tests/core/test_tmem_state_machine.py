"""tmem in any interleaving: the books balance, and a get returns what was put or a miss."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from hypervisor.core.steps import Caller
from hypervisor.core.tmem.content import Client
from hypervisor.public.errors import Errno
from hypervisor.public.requests import Reply, Request
from hypervisor.public.tmem import (
    TMEM_EPHEMERAL,
    TMEM_FLUSH,
    TMEM_FREEZE,
    TMEM_LIST,
    TMEM_PERSISTENT,
    TMEM_POOL_SHARED,
    TMEM_QUERY_FREEABLE_MB,
    TMEM_SAVE_BEGIN,
    TMEM_SAVE_END,
    TMEM_SET_CLIENT_INFO,
    TMEM_THAW,
    Oid,
    TmemClientInfo,
    TmemControl,
    TmemDestroyPool,
    TmemFlushObject,
    TmemFlushPage,
    TmemGetPage,
    TmemNewPool,
    TmemOther,
    TmemPage,
    TmemPutPage,
)
from tests.core.test_state_machine import CONTROL, AnyInterleaving, explore

WITH_TMEM = ("4.3", "4.12")
NO_FRAME = 1 << 40
FLAGS = st.sampled_from(
    (TMEM_EPHEMERAL, TMEM_EPHEMERAL, TMEM_PERSISTENT, TMEM_EPHEMERAL | TMEM_POOL_SHARED, 0)
)
ALL_ONES = (2**64 - 1, 2**64 - 1)
POOLS = st.sampled_from((0, 0, 0, 1, 1, 1, 2, 16, -1))
INDEXES = st.sampled_from((0, 0, 0, 1, 1, 2, 64, 2**32 - 1))
OIDS = st.sampled_from(((0, 0, 0), (0, 0, 0), (0, 0, 0), (256, 0, 0)))
CLIENTS = st.sampled_from((0, 1, 1, 2, 2, 9))

Key = tuple[int, int, Oid, int]


class TmemInterleaving(AnyInterleaving):
    """The same callers, clients of tmem among them. The model follows replies: tmem's lock orders them."""

    tmem = True

    def __init__(self) -> None:
        super().__init__()
        self.put: dict[Key, int] = {}
        self.persistent: dict[tuple[int, int], bool] = {}
        self.known: dict[int, Client] = {}

    def ask_tmem(self, domid: int, request: Request) -> None:
        domain = self.host.find(domid)
        self.submit(CONTROL if not domid or domain is None else Caller(domid, domain.incarnation), request)

    @precondition(AnyInterleaving.quiet)
    @rule(content=st.integers(1, 2**32), again=st.integers(1, 2**32), persistent=st.booleans())
    def use_a_pool(self, content: int, again: int, persistent: bool) -> None:
        """A client alone on the host makes a pool, puts a page twice, and gets it back if it can."""
        domain = self.host.find(2)
        if domain is None or domain.pause_count:
            return
        flags, oid, frame = TMEM_PERSISTENT if persistent else TMEM_EPHEMERAL, (0, 0, 0), self.frame_of(2, 0)
        pool = self.ask_to_end(TmemNewPool(flags))
        for value in (content, again):
            self.ask_to_end(TmemPutPage(pool, oid, 0, frame, value))
        self.ask_to_end(TmemGetPage(pool, oid, 0, frame))

    def ask_to_end(self, request: Request) -> int:
        self.ask_tmem(2, request)
        operation = self.under_way[-1]
        while operation.reply is None:
            self.step(operation)
        return operation.reply.ret

    @precondition(AnyInterleaving.room)
    @rule(domid=CLIENTS, flags=FLAGS)
    def new_pool(self, domid: int, flags: int) -> None:
        """A client makes a private pool."""
        self.ask_tmem(domid, TmemNewPool(flags, ALL_ONES))

    @precondition(AnyInterleaving.room)
    @rule(
        domid=CLIENTS,
        pool=POOLS,
        oid=OIDS,
        index=INDEXES,
        content=st.integers(0, 2**32),
        bad=st.integers(0, 9),
    )
    def put_page(self, domid: int, pool: int, oid: Oid, index: int, content: int, bad: int) -> None:
        """A client puts a page."""
        self.ask_tmem(domid, TmemPutPage(pool, oid, index, self.frame_of(domid, bad), content))

    @precondition(AnyInterleaving.room)
    @rule(domid=CLIENTS, pool=POOLS, oid=OIDS, first=st.integers(0, 200), count=st.integers(1, 150))
    def put_many(self, domid: int, pool: int, oid: Oid, first: int, count: int) -> None:
        """A client puts many pages, one after the other, while nobody else's tmem command is under way."""
        for index in range(first, first + count):
            frame = self.frame_of(domid, 0)
            domain = self.host.find(domid)
            if domain is None or domain.pause_count:
                return
            self.ask_tmem(domid, TmemPutPage(pool, oid, index, frame, index))
            operation = self.under_way[-1]
            while self.machine.is_runnable(operation):
                self.step(operation)
            if operation.reply is None or operation.reply.ret != 1:
                return

    @precondition(AnyInterleaving.room)
    @rule(domid=CLIENTS, pool=POOLS, oid=OIDS, index=INDEXES, bad=st.integers(0, 9))
    def get_page(self, domid: int, pool: int, oid: Oid, index: int, bad: int) -> None:
        """A client gets a page."""
        self.ask_tmem(domid, TmemGetPage(pool, oid, index, self.frame_of(domid, bad)))

    @precondition(AnyInterleaving.room)
    @rule(domid=CLIENTS, pool=POOLS, oid=OIDS, index=INDEXES, what=st.integers(0, 5))
    def flush_something(self, domid: int, pool: int, oid: Oid, index: int, what: int) -> None:
        """A client flushes a page or an object, destroys a pool, or sends nonsense."""
        requests: tuple[Request, ...] = (
            TmemFlushPage(pool, oid, index),
            TmemFlushObject(pool, oid),
            TmemDestroyPool(pool),
            TmemOther(index % 200, pool),
        )
        self.ask_tmem(domid, requests[min(what, 3)])

    @precondition(AnyInterleaving.room)
    @rule(
        cmd=st.sampled_from(
            (
                *(TMEM_FREEZE, TMEM_THAW, TMEM_THAW, TMEM_FLUSH, TMEM_FLUSH, TMEM_LIST),
                *(TMEM_QUERY_FREEABLE_MB, TMEM_SAVE_BEGIN, TMEM_SAVE_END, TMEM_SET_CLIENT_INFO, 40),
            )
        ),
        cli=st.sampled_from((0, 1, 2, 9, 0xFFFF, 0xFFFF)),
        arg=st.sampled_from((0, 1, 4, 40, 4000, 2**32 - 1)),
        weight=st.integers(0, 9),
    )
    def control(self, cmd: int, cli: int, arg: int, weight: int) -> None:
        """A toolstack controls tmem."""
        info = TmemClientInfo(weight=weight, flags=2 * (weight & 1))
        self.submit(CONTROL, TmemControl(cmd, cli, arg, info=info))

    def frame_of(self, domid: int, bad: int) -> int:
        domain = self.host.find(domid)
        names = [] if domain is None or bad == 1 else self.names_of(domain)
        return names[bad % len(names)] if names else NO_FRAME

    def judge_answer(self, caller: Caller, request: Request, reply: Reply) -> None:
        """I7: a hit returns the last content put; what is in a persistent pool always hits."""
        self.forget_the_dead()
        domid = caller.domid
        match request:
            case TmemNewPool() if reply.ret >= 0:
                self.persistent[domid, reply.ret] = bool(request.flags & 1)
                self.forget(domid, reply.ret)
            case TmemPutPage():
                key = (domid, request.pool_id, request.oid, request.index)
                if reply.ret == 1:
                    self.put[key] = request.content
                elif reply.ret in (-Errno.ENOSPC, -Errno.EFAULT):
                    self.put.pop(key, None)
            case TmemGetPage():
                self.judge_get((domid, request.pool_id, request.oid, request.index), reply)
            case TmemFlushPage():
                self.put.pop((domid, request.pool_id, request.oid, request.index), None)
            case TmemFlushObject():
                self.forget(domid, request.pool_id, request.oid)
            case TmemDestroyPool() if reply.ret == 1:
                self.forget(domid, request.pool_id)
            case _:
                pass

    def judge_get(self, key: Key, reply: Reply) -> None:
        persistent = self.persistent.get(key[:2], False)
        if reply.ret == 1:
            assert isinstance(reply.value, TmemPage)
            assert reply.value.content == self.put[key], "I7: stale"
            if not persistent:
                del self.put[key]
        elif reply.ret in (0, -Errno.EEMPTY):
            assert not persistent or key not in self.put, "I7: a persistent page is lost"

    def forget(self, domid: int, pool: int, oid: Oid | None = None) -> None:
        for key in list(self.put):
            if key[:2] == (domid, pool) and oid in (None, key[2]):
                del self.put[key]

    def forget_the_dead(self) -> None:
        """A client that went took its pages along; one that came has none."""
        assert self.host.tmem is not None
        for domid in {key[0] for key in self.put} | self.known.keys():
            client = self.host.tmem.clients.get(domid)
            if client is not self.known.get(domid):
                for pool in range(16):
                    self.forget(domid, pool)
        self.known = dict(self.host.tmem.clients)

    def before_the_last_look(self) -> None:
        """Domain 0 cannot be destroyed, so its pools are; what tmem holds then goes to the heap."""
        tmem = self.host.tmem
        assert tmem is not None
        for cmd in (TMEM_THAW, TMEM_SAVE_END):
            self.run_to_end(TmemControl(cmd, 0))
        for pool in range(16):
            self.run_to_end(TmemDestroyPool(pool))
        self.run_to_end(TmemControl(TMEM_FLUSH))
        assert (tmem.freeable, tmem.pages, tmem.objects, tmem.nodes, tmem.data_pages) == (0, 0, 0, 0, 0)
        assert not tmem.persistent_frames and not tmem.ephemeral and tmem.eph_count == 0
        for client in tmem.clients.values():
            assert client.domid == 0
            assert client.eph_count == 0
        for client in tmem.clients.values():  # what domain 0's client costs Xen stays
            for mfn in client.xen_frames:
                self.host.frames.set_owner(mfn, 0, 0x7FF4, 0x7FF2)
                self.host.heap.give(mfn, 0)
                self.host.xen_pages -= 1


@pytest.mark.rule(
    "I1", "I2", "I3", "I5", "I6", "I7", "I9", "T8", "T10", "T11", "T12", "T20", "T23", "P6", "P7"
)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", WITH_TMEM)
def test_tmem_is_sound_after_every_step(name: str) -> None:
    """No interleaving breaks an invariant the release does not break, and no get returns what was not put."""
    explore(name, 40, 50, TmemInterleaving)


@pytest.mark.rule("I1", "I7")
@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", WITH_TMEM)
def test_tmem_is_sound_in_long_histories(name: str) -> None:
    """The same over many and longer histories."""
    explore(name, 400, 120, TmemInterleaving)
