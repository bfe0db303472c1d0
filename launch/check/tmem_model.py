"""I7, put then get, by a model that shares nothing with the core: what every page of tmem may hold.

A persistent page that was put is found until it is flushed; an ephemeral one is found or not; neither is ever
found with another content than the last one put, and a hit in a private ephemeral pool takes the page away.
A put that failed may have lost the page it was to replace (T10), so afterwards a miss is right as well.
Shared pools are asked only whether somebody put that content there: who may share is the core's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hypervisor.core.steps import Caller
from hypervisor.public.errors import Errno
from hypervisor.public.requests import Reply, Request
from hypervisor.public.tmem import (
    TMEM_CLI_ID_NULL,
    TMEM_DESTROY,
    TMEM_POOL_PERSIST,
    TMEM_POOL_SHARED,
    Oid,
    TmemControl,
    TmemDestroyPool,
    TmemFlushObject,
    TmemFlushPage,
    TmemGetPage,
    TmemNewPool,
    TmemPage,
    TmemPutPage,
)

TMEM_REQUESTS: Final = (
    TmemNewPool,
    TmemDestroyPool,
    TmemControl,
    TmemPutPage,
    TmemGetPage,
    TmemFlushPage,
    TmemFlushObject,
)
PageName = tuple[Oid, int]
"""(oid, index)."""


@dataclass(slots=True)
class _Pool:
    persistent: bool
    shared: bool
    pages: dict[PageName, int | None] = field(default_factory=dict[PageName, int | None])
    """Content of each page that may be there; None: a put that named none."""
    certain: set[PageName] = field(default_factory=set[PageName])
    """Those that must be there."""


class TmemModel:
    """Told of every finished request, in commit order."""

    def __init__(self) -> None:
        self._pools: dict[tuple[Caller, int], _Pool] = {}
        self._shared: dict[PageName, set[int | None]] = {}
        """Everything ever put into shared pools."""

    def finished(self, caller: Caller, request: Request, reply: Reply) -> str | None:
        """What the answer breaks; None when it may be."""
        match request:
            case TmemNewPool():
                if reply.ret >= 0:
                    flags = request.flags
                    kind = bool(flags & TMEM_POOL_PERSIST), bool(flags & TMEM_POOL_SHARED)
                    self._pools[caller, reply.ret] = _Pool(*kind)
            case TmemDestroyPool():
                if reply.ret == 1:
                    self._pools.pop((caller, request.pool_id), None)
            case TmemControl():
                self._control(request)
            case TmemPutPage() | TmemGetPage() | TmemFlushPage() | TmemFlushObject():
                pool = self._pools.get((caller, request.pool_id))
                return None if pool is None else self._on_pool(pool, request, reply)
            case _:
                pass
        return None

    def _control(self, request: TmemControl) -> None:
        if request.cmd == TMEM_DESTROY:
            everybody = request.cli_id == TMEM_CLI_ID_NULL
            gone = [key for key in self._pools if everybody or key[0].domid == request.cli_id]
            for key in gone:
                del self._pools[key]

    def _on_pool(
        self, pool: _Pool, request: TmemPutPage | TmemGetPage | TmemFlushPage | TmemFlushObject, reply: Reply
    ) -> str | None:
        match request:
            case TmemPutPage():
                self._put(pool, request, reply.ret)
            case TmemGetPage():
                return self._get(pool, request, reply)
            case TmemFlushPage():
                _forget(pool, [(request.oid, request.index)])
            case TmemFlushObject():
                _forget(pool, [name for name in pool.pages if name[0] == request.oid])
        return None

    def _put(self, pool: _Pool, request: TmemPutPage, ret: int) -> None:
        name = (request.oid, request.index)
        if ret != 1:
            pool.certain.discard(name)
            return
        pool.pages[name] = request.content
        pool.certain.add(name)
        if pool.shared:
            self._shared.setdefault(name, set()).add(request.content)

    def _get(self, pool: _Pool, request: TmemGetPage, reply: Reply) -> str | None:
        name = (request.oid, request.index)
        if reply.ret == 1:
            assert isinstance(reply.value, TmemPage), "the core's own"
            return self._hit(pool, name, reply.value.content)
        if reply.ret < 0 and request_failed(reply.ret):
            return None
        if pool.persistent and not pool.shared and name in pool.certain:
            return f"a persistent page is lost: {name} of pool {request.pool_id} was put and not flushed"
        if not pool.persistent and not pool.shared:
            _forget(pool, [name])
        return None

    def _hit(self, pool: _Pool, name: PageName, content: int) -> str | None:
        if pool.shared:
            put = self._shared.get(name, set[int | None]())
            return (
                None if content in put or None in put else f"{name} holds {content}, which nobody put there"
            )
        if name not in pool.pages:
            return f"{name} is found, although it was never put, or was flushed or taken"
        wanted = pool.pages[name]
        if not pool.persistent:
            _forget(pool, [name])
        if wanted is not None and wanted != content:
            return f"{name} is stale: it holds {content}, {wanted} was put last"
        return None


def request_failed(ret: int) -> bool:
    """The get itself failed, and says nothing about the page; EEMPTY says that the pool is empty."""
    return ret != -Errno.EEMPTY


def _forget(pool: _Pool, names: list[PageName]) -> None:
    for name in names:
        pool.pages.pop(name, None)
        pool.certain.discard(name)
