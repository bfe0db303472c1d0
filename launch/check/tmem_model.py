"""I7, put then get, by a model that shares nothing with the core: what every page of tmem may hold.

A persistent page that was put is found until it is flushed; an ephemeral one is found or not; neither is ever
found with another content than the last one put, and a hit in a private ephemeral pool takes the page away.
A put that failed may have lost the page it was to replace (T10), so afterwards a miss is right as well.
Shared pools are asked only whether it is what one of those who name the same uuid put there last: who may
share is the core's business. What is remembered grows with the pages that pools alive name, not with the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hypervisor.core.steps import Caller
from hypervisor.public.domctl import DestroyDomain
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
    Uuid,
)
from hypervisor.public.units import DomId

TMEM_REQUESTS: Final = frozenset[type](
    {
        DestroyDomain,
        TmemNewPool,
        TmemDestroyPool,
        TmemControl,
        TmemPutPage,
        TmemGetPage,
        TmemFlushPage,
        TmemFlushObject,
    }
)
"""Of what the model is told."""
PageName = tuple[Oid, int]
"""(oid, index)."""
PoolName = tuple[Caller, int]
"""(client, pool id)."""
GONE: Final[PoolName] = (Caller(0), -1)
"""Stands for all who shared pages and are no more: the pages may have stayed."""


class _Shared:
    """What those who share by one uuid have put."""

    def __init__(self) -> None:
        self.members: dict[PoolName, None] = {}
        self._last: dict[PageName, dict[PoolName, int | None]] = {}
        """The content that each put there last; None: it may be any."""

    def put(self, by: PoolName, name: PageName, content: int | None) -> None:
        """A put that succeeded."""
        self._last.setdefault(name, {})[by] = content

    def forget(self, by: PoolName, name: PageName) -> None:
        """A member flushed a page: its own is gone, if it shared then that of all."""
        last = self._last.get(name, {})
        last.pop(by, None)
        if not last:
            self._last.pop(name, None)

    def names(self, oid: Oid) -> list[PageName]:
        """Of one object."""
        return [name for name in self._last if name[0] == oid]

    def leave(self, member: PoolName) -> None:
        """A pool ends; its pages may stay with the others."""
        self.members.pop(member, None)
        for last in self._last.values():
            if member in last:
                content = last.pop(member)
                last[GONE] = content if last.get(GONE, content) == content else None

    def may_hold(self, name: PageName, content: int) -> bool:
        """Somebody put it there, and nothing else since."""
        last = self._last.get(name, {}).values()
        return content in last or None in last


@dataclass(slots=True)
class _Pool:
    name: PoolName
    persistent: bool
    shared: _Shared | None
    pages: dict[PageName, int | None] = field(default_factory=dict[PageName, int | None])
    """Of a private one, the content of each page that may be there; None: a put that named none."""
    certain: set[PageName] = field(default_factory=set[PageName])
    """Those that must be there."""


class TmemModel:
    """Told of every finished request, in commit order."""

    def __init__(self) -> None:
        self._pools: dict[PoolName, _Pool] = {}
        self._shared: dict[Uuid, _Shared] = {}

    def finished(self, caller: Caller, request: Request, reply: Reply) -> str | None:
        """What the answer breaks; None when it may be."""
        match request:
            case TmemPutPage() | TmemGetPage() | TmemFlushPage() | TmemFlushObject():
                pool = self._pools.get((caller, request.pool_id))
                return None if pool is None else self._on_pool(pool, request, reply)
            case TmemNewPool() if reply.ret >= 0:
                self._new_pool((caller, reply.ret), request)
            case TmemDestroyPool() if reply.ret == 1:
                self._end((caller, request.pool_id))
            case TmemControl() if request.cmd == TMEM_DESTROY:
                self._end_of(None if request.cli_id == TMEM_CLI_ID_NULL else request.cli_id)
            case DestroyDomain() if reply.ret == 0:
                self._end_of(request.domid)
            case _:
                pass
        return None

    def _new_pool(self, name: PoolName, request: TmemNewPool) -> None:
        self._end(name)  # of which nobody said that it is over
        shared = None
        if request.flags & TMEM_POOL_SHARED:
            shared = self._shared.setdefault(request.uuid, _Shared())
            shared.members[name] = None
        self._pools[name] = _Pool(name, bool(request.flags & TMEM_POOL_PERSIST), shared)

    def _end_of(self, domid: DomId | None) -> None:
        """A client and its pools; all of them for None."""
        for name in [name for name in self._pools if domid in (None, name[0].domid)]:
            self._end(name)

    def _end(self, name: PoolName) -> None:
        pool = self._pools.pop(name, None)
        if pool is None or pool.shared is None:
            return
        pool.shared.leave(name)
        if not pool.shared.members:
            self._shared = {uuid: one for uuid, one in self._shared.items() if one.members}

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
                held = pool.pages if pool.shared is None else pool.shared.names(request.oid)
                _forget(pool, [name for name in held if name[0] == request.oid])
        return None

    def _put(self, pool: _Pool, request: TmemPutPage, ret: int) -> None:
        name = (request.oid, request.index)
        if ret != 1:
            pool.certain.discard(name)
        elif pool.shared is not None:
            pool.shared.put(pool.name, name, request.content)
        else:
            pool.pages[name] = request.content
            pool.certain.add(name)

    def _get(self, pool: _Pool, request: TmemGetPage, reply: Reply) -> str | None:
        name = (request.oid, request.index)
        if reply.ret == 1:
            assert isinstance(reply.value, TmemPage), "the core's own"
            return self._hit(pool, name, reply.value.content)
        if reply.ret < 0 and request_failed(reply.ret):
            return None
        if pool.shared is not None:
            return None
        if pool.persistent and name in pool.certain:
            return f"a persistent page is lost: {name} of pool {request.pool_id} was put and not flushed"
        if not pool.persistent:
            _forget(pool, [name])
        return None

    def _hit(self, pool: _Pool, name: PageName, content: int) -> str | None:
        if pool.shared is not None:
            known = pool.shared.may_hold(name, content)
            return None if known else f"{name} holds {content}, which nobody put there last"
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
        if pool.shared is not None:
            pool.shared.forget(pool.name, name)
