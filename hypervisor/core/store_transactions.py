"""The end of a xenstore transaction: nothing happens if a node that it read has changed."""

from collections.abc import Callable

from hypervisor.core.host import Host
from hypervisor.public.errors import Errno
from hypervisor.public.xenstore import StoreTransaction


def end_transaction(
    host: Host,
    request: StoreTransaction,
    well_formed: Callable[[str], bool],
    fire: Callable[[str, bool], None],
) -> int:
    """0 when every write is done, EAGAIN when nothing is; watches fire after the last write."""
    store = host.store
    paths = [path for path, _ in (*request.expected, *request.writes)]
    if not all(map(well_formed, paths)) or any(path == "/" for path, _ in request.writes):
        return -Errno.EINVAL
    if any(store.values.get(path) != text for path, text in request.expected):
        return -Errno.EAGAIN
    changed: list[tuple[str, bool]] = []
    for path, text in request.writes:
        if text is not None:
            store.write(path, text)
            changed.append((path, False))
        elif path in store.values:
            store.remove(path)
            changed.append((path, True))
    for path, removed in changed:
        fire(path, removed)
    return 0
