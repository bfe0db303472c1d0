"""A small host with transcendent memory, and short names for what clients and toolstacks ask of it."""

from __future__ import annotations

from hypervisor.core.releases import Release
from hypervisor.core.steps import Caller
from hypervisor.core.tmem.state import Tmem
from hypervisor.public.requests import Reply
from hypervisor.public.tmem import (
    TMEM_EPHEMERAL,
    TMEM_LIST,
    TmemControl,
    TmemDestroyPool,
    TmemFlushObject,
    TmemFlushPage,
    TmemGetPage,
    TmemList,
    TmemNewPool,
    TmemPage,
    TmemPutPage,
    Uuid,
)
from hypervisor.public.units import Mfn, Pages
from tests.core.small_host import SmallHost

NO_FRAME = 1 << 40


class TmemHost(SmallHost):
    """Clients put, get and flush by (pool, object number, index)."""

    def __init__(self, name: str | Release = "4.12", pages: Pages = 4096, compress: bool = False) -> None:
        super().__init__(name, pages, tmem=True, tmem_compress=compress)
        self.buffers: dict[Caller, Mfn] = {}

    @property
    def tmem(self) -> Tmem:
        """The host's tmem, which must exist."""
        assert self.host.tmem is not None
        return self.host.tmem

    def client(self, max_pages: Pages | None = None) -> Caller:
        """A running PV domain with one page to copy from and to."""
        who = self.create(max_pages=max_pages)
        assert self.grow(who, 1) == 1
        self.buffers[who] = self.frames_of(who)[0]
        return who

    def pool(self, who: Caller, flags: int = TMEM_EPHEMERAL, uuid: Uuid = (0, 0)) -> int:
        """NEW_POOL."""
        return self.ret(TmemNewPool(flags, uuid), who)

    def request(self, who: Caller, pool: int, oid: int, index: int, content: int) -> TmemPutPage:
        """A put not yet sent."""
        return TmemPutPage(pool, (oid, 0, 0), index, self.buffers[who], content)

    def put(self, who: Caller, pool: int, oid: int, index: int, content: int = 1) -> int:
        """PUT_PAGE."""
        return self.ret(self.request(who, pool, oid, index, content), who)

    def get(self, who: Caller, pool: int, oid: int, index: int) -> int | None:
        """GET_PAGE: the content, None for a miss or an empty pool."""
        reply = self.reply_of_get(who, pool, oid, index)
        return reply.value.content if isinstance(reply.value, TmemPage) else None

    def reply_of_get(self, who: Caller, pool: int, oid: int, index: int) -> Reply:
        """GET_PAGE."""
        return self.call(TmemGetPage(pool, (oid, 0, 0), index, self.buffers[who]), who)

    def flush(self, who: Caller, pool: int, oid: int, index: int) -> int:
        """FLUSH_PAGE."""
        return self.ret(TmemFlushPage(pool, (oid, 0, 0), index), who)

    def flush_object(self, who: Caller, pool: int, oid: int) -> int:
        """FLUSH_OBJECT."""
        return self.ret(TmemFlushObject(pool, (oid, 0, 0)), who)

    def destroy_pool(self, who: Caller, pool: int) -> int:
        """DESTROY_POOL."""
        return self.ret(TmemDestroyPool(pool), who)

    def control(self, cmd: int, cli_id: int = 0xFFFF, arg: int = 0) -> int:
        """A control operation of dom0's."""
        return self.ret(TmemControl(cmd, cli_id, arg))

    def lines(self) -> tuple[str, ...]:
        """LIST of everything, long."""
        value = self.call(TmemControl(TMEM_LIST, arg=1)).value
        assert isinstance(value, TmemList)
        return value.lines

    def squeeze(self, who: Caller, pool: int) -> None:
        """Fill the host so that free is at midsize and tmem holds the rest."""
        self.leave_free(self.tmem.midsize + 400)
        index = 0
        while not self.tmem.statistics.evicted:
            assert self.put(who, pool, 900 + index // 50, index % 50, 5) == 1
            index += 1
        filler = self.create()
        while self.free > self.tmem.midsize:
            assert self.grow(filler, 1) == 1
