"""xenstore requests: who may do what, and what it answers (xenstored_core.c)."""

from functools import partial
from typing import assert_never

from hypervisor.core.host import Host
from hypervisor.core.steps import Caller, Emission, Result, Steps, step
from hypervisor.core.store_transactions import end_transaction
from hypervisor.core.store_watches import Watch, is_at_or_below
from hypervisor.public.errors import Errno
from hypervisor.public.requests import WatchEvent
from hypervisor.public.xenstore import (
    StoreDirectory,
    StoreNames,
    StoreOp,
    StoreRead,
    StoreRemove,
    StoreText,
    StoreTransaction,
    StoreUnwatch,
    StoreWatch,
    StoreWrite,
    domain_path,
)

MAX_PATH = 1024
"""Longest absolute path (XENSTORE_ABS_PATH_MAX is 3072; a short one bounds a guest's use)."""
MAX_VALUE = 4096
"""Longest value, characters (XENSTORE_PAYLOAD_MAX)."""
MAX_NODES_OF_GUEST = 1000
MAX_WATCHES_OF_GUEST = 128
"""xenstored's default quotas (quota-nodes, quota-watches)."""
GUEST_WRITABLE = ("data", "control", "device")


def store_operation(host: Host, caller: Caller, request: StoreOp) -> Steps:
    """One xenstore request: one step."""
    writes = isinstance(request, StoreWrite | StoreRemove | StoreTransaction)
    touched = tuple(("xenstore", top) for top in _tops(request))
    yield step("xenstore", reads=touched, writes=touched if writes else ())
    if not _well_formed(request.path):
        return Result(-Errno.EINVAL)
    if not _permitted(caller, request, writes):
        return Result(-Errno.EACCES)
    match request:
        case StoreRead():
            return _read(host, request)
        case StoreDirectory():
            return _directory(host, caller, request)
        case StoreWrite():
            return _write(host, caller, request)
        case StoreRemove():
            return _remove(host, request)
        case StoreWatch():
            return _watch(host, caller, request)
        case StoreUnwatch():
            return _unwatch(host, caller, request)
        case StoreTransaction():
            return Result(end_transaction(host, request, _well_formed, partial(_fire, host)))
        case _:
            assert_never(request)


def _tops(request: StoreOp) -> tuple[str, ...]:
    """What the request may touch, each once."""
    if not isinstance(request, StoreTransaction):
        return (_top(request.path),)
    paths = [path for path, _ in (*request.expected, *request.writes)]
    return tuple(dict.fromkeys(map(_top, paths)))


def _top(path: str) -> str:
    """The domain's home, or the whole tree: the grain at which steps are said to touch each other."""
    parts = path.split("/")
    return "/".join(parts[:4]) if path.startswith("/local/domain/") else "/"


def _well_formed(path: str) -> bool:
    if path == "/":
        return True
    if not path.startswith("/") or path.endswith("/") or "//" in path or len(path) > MAX_PATH:
        return False
    return path.isprintable()


def _permitted(caller: Caller, request: StoreOp, writes: bool) -> bool:
    if caller.privileged:
        return True
    home = domain_path(caller.domid)
    if not writes:
        return is_at_or_below(request.path, home)
    return any(is_at_or_below(request.path, f"{home}/{name}") for name in GUEST_WRITABLE)


def _read(host: Host, request: StoreRead) -> Result:
    value = host.store.values.get(request.path)
    return Result(-Errno.ENOENT) if value is None else Result(0, StoreText(value))


def _directory(host: Host, caller: Caller, request: StoreDirectory) -> Result:
    """A guest gets no more than a xenstore message holds (XENSTORE_PAYLOAD_MAX); dom0 asks for the parts."""
    names = host.store.children.get(request.path)
    if names is None:
        return Result(-Errno.ENOENT)
    if not caller.privileged and sum(len(name) + 1 for name in names) > MAX_VALUE:
        return Result(-Errno.E2BIG)
    return Result(0, StoreNames(tuple(sorted(names))))


def _write(host: Host, caller: Caller, request: StoreWrite) -> Result:
    if len(request.value) > MAX_VALUE:
        return Result(-Errno.E2BIG)
    if not caller.privileged and host.store.count_below(domain_path(caller.domid)) >= MAX_NODES_OF_GUEST:
        return Result(-Errno.ENOSPC)
    host.store.write(request.path, request.value)
    _fire(host, request.path)
    return Result(0)


def _remove(host: Host, request: StoreRemove) -> Result:
    if request.path not in host.store.values:
        return Result(-Errno.ENOENT)
    if request.path == "/":
        return Result(-Errno.EINVAL)
    host.store.remove(request.path)
    _fire(host, request.path, removed=True)
    return Result(0)


def _watch(host: Host, caller: Caller, request: StoreWatch) -> Result:
    watch = Watch(caller, request.path, request.token)
    if watch in host.store.watches:
        return Result(-Errno.EEXIST)
    if not caller.privileged and host.store.watches.count_of(caller) >= MAX_WATCHES_OF_GUEST:
        return Result(-Errno.E2BIG)
    host.store.watches.add(watch)
    _tell(host, watch, request.path)  # a new watch fires at once
    return Result(0)


def _unwatch(host: Host, caller: Caller, request: StoreUnwatch) -> Result:
    watch = Watch(caller, request.path, request.token)
    if watch not in host.store.watches:
        return Result(-Errno.ENOENT)
    host.store.watches.remove(watch)
    return Result(0)


def _fire(host: Host, path: str, removed: bool = False) -> None:
    for watch in host.store.watches.fired(path, removed):
        _tell(host, watch, path)


def _tell(host: Host, watch: Watch, path: str) -> None:
    host.emit(Emission(watch.owner, WatchEvent(path, watch.token, host.commit)))
