"""Hypercall 38 as its caller sees it: who may, which pool, and what the command does (T8-T12)."""

from typing import assert_never

from hypervisor.core.decrease import lookup_page
from hypervisor.core.host import Host
from hypervisor.core.steps import Caller, Part, Result, Steps
from hypervisor.core.tmem.content import Client, Page, Pool
from hypervisor.core.tmem.memory import tmem_step
from hypervisor.core.tmem.pools import create_client, destroy_pool, new_pool
from hypervisor.core.tmem.put import put_page
from hypervisor.core.tmem.release import delete_page, free_object, tmem_of
from hypervisor.core.tmem.state import Tmem
from hypervisor.public.errors import Errno
from hypervisor.public.tmem import (
    TmemDestroyPool,
    TmemFlushObject,
    TmemFlushPage,
    TmemGetPage,
    TmemNewPool,
    TmemOp,
    TmemOther,
    TmemPage,
    TmemPutPage,
)

_CONTROL, _AUTH, _RESTORE_NEW = 0, 101, 102

PageOp = TmemPutPage | TmemGetPage | TmemFlushPage | TmemFlushObject | TmemOther


def tmem_op(host: Host, caller: Caller, request: TmemOp) -> Steps:
    """do_tmem_op. ENOSYS where the hypervisor has no tmem at all, ENODEV where it is switched off (T8)."""
    yield tmem_step("tmem", caller.domid)
    tmem = host.tmem
    if tmem is None:
        return Result(-Errno.ENOSYS)
    if not tmem.enabled:
        return Result(-Errno.ENODEV)
    statistics = tmem.statistics
    statistics.total_ops += 1
    outcome = _carry_out(host, tmem, caller, request)
    result = outcome if isinstance(outcome, Result) else Result((yield from outcome))
    if result.ret < 0:
        statistics.errored_ops += 1
    return result


def _carry_out(host: Host, tmem: Tmem, caller: Caller, request: TmemOp) -> Result | Part[int]:
    """The answer, or the further steps of the few commands that may take some."""
    domain = host.find(caller.domid)
    if domain is None or domain.is_dying:
        return Result(-Errno.ENODEV)
    if type(request) is TmemOther and request.cmd in (_CONTROL, _AUTH, _RESTORE_NEW):
        return Result(-Errno.EOPNOTSUPP)  # since 4.7 these are sysctl 24 (T6)
    client = tmem.clients.get(caller.domid) or create_client(host, caller.domid)
    if client is None:
        return Result(-Errno.ENOMEM)
    match request:
        # Nearly all requests are these, and a struct's class that does not match takes 0.1 us to say so.
        case TmemGetPage() | TmemPutPage():
            return _on_pool(host, caller, client, request)
        case TmemNewPool():
            return new_pool(host, client, request.flags, request.uuid)
        case TmemDestroyPool():
            return Result(destroy_pool(host, client, request.pool_id))
        case _:
            return _on_pool(host, caller, client, request)


def _on_pool(host: Host, caller: Caller, client: Client, request: PageOp) -> Result | Part[int]:
    pool = client.pools[request.pool_id] if 0 <= request.pool_id < len(client.pools) else None
    if pool is None:
        return Result(-Errno.ENODEV)
    match request:
        case TmemGetPage():
            return _get(host, caller, pool, request)
        case TmemPutPage():
            return put_page(host, caller, pool, request)
        case TmemFlushPage():
            return Result(_flush_page(host, pool, request))
        case TmemFlushObject():
            return Result(_flush_object(host, pool, request))
        case TmemOther():
            return Result(-Errno.ENOSYS if host.release.tmem_unknown_command_refused else 0)
        case _:
            assert_never(request)


def _get(host: Host, caller: Caller, pool: Pool, request: TmemGetPage) -> Result:
    """do_tmem_get: exclusive in a private ephemeral pool, else the page is kept (T11)."""
    if not pool.pages:
        return Result(-Errno.EEMPTY)
    pool.gets += 1
    obj = pool.objects.get(request.oid)
    page = None if obj is None else obj.pages.get(request.index)
    if obj is None or page is None:
        return Result(0)
    domain = host.find(caller.domid)
    mfn = None if domain is None else lookup_page(host, domain, request.cmfn)
    if mfn is None:
        # Xen has unhung a private ephemeral page by now, and counts it until it is evicted (recording t91);
        # here it stays where it is.
        tmem_of(host).statistics.failed_copies += 1
        return Result(-Errno.EFAULT)
    if pool.persistent:
        pool.client.succ_pers_gets += 1
    else:
        pool.client.succ_eph_gets += 1
        _after_ephemeral_get(host, caller, page)
    pool.found_gets += 1
    host.contents.put(mfn, page.content)
    return Result(1, TmemPage(page.content))


def _after_ephemeral_get(host: Host, caller: Caller, page: Page) -> None:
    obj, tmem = page.obj, tmem_of(host)
    if not obj.pool.shared:
        delete_page(host, obj, page.index)
        return
    for pages in (tmem.ephemeral, obj.pool.client.ephemeral):  # to the tail (T31)
        pages.pop(page, None)
        pages[page] = None
    obj.last_client = caller.domid


def _flush_page(host: Host, pool: Pool, request: TmemFlushPage) -> int:
    pool.flushs += 1
    obj = pool.objects.get(request.oid)
    if obj is not None and delete_page(host, obj, request.index):
        pool.flushs_found += 1
    return _flushed(pool)


def _flush_object(host: Host, pool: Pool, request: TmemFlushObject) -> int:
    pool.flush_objs += 1
    obj = pool.objects.get(request.oid)
    if obj is not None:
        free_object(host, obj)
        pool.flush_objs_found += 1
    return _flushed(pool)


def _flushed(pool: Pool) -> int:
    """1 whether found or not; a frozen client's flush acts as well, but says it is frozen (T12)."""
    return -Errno.EFROZEN if pool.client.frozen else 1
