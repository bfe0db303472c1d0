"""XEN_SYSCTL_tmem_op: what a toolstack asks of tmem (T13-T17; recordings 4.12 rules 11 to 14)."""

from hypervisor.core.allocation import IN_FLIGHT, give_back
from hypervisor.core.host import Host
from hypervisor.core.steps import Caller, Part, Result, Steps
from hypervisor.core.tmem.content import Client
from hypervisor.core.tmem.eviction import evict
from hypervisor.core.tmem.listing import list_tmem
from hypervisor.core.tmem.memory import tmem_step
from hypervisor.core.tmem.pools import create_client, end_migration
from hypervisor.core.tmem.release import tmem_of
from hypervisor.core.tmem.state import TMEM_OWNER
from hypervisor.public import tmem as abi
from hypervisor.public.errors import Errno
from hypervisor.public.tmem import (
    CLIENT_COMPRESS,
    CLIENT_FROZEN,
    CLIENT_MIGRATING,
    MAX_POOLS_PER_DOMAIN,
    TMEM_CLI_ID_NULL,
    TMEM_SPEC_VERSION,
    TmemClientInfo,
    TmemControl,
    TmemList,
)
from hypervisor.public.units import KIB_PER_PAGE, PAGES_PER_MIB, UINT_MAX, Pages

_UNKNOWN = -1
"""What Xen answers for an unknown client or sub-op: not an errno it chose, but EPERM's number."""


def tmem_control(host: Host, caller: Caller, request: TmemControl) -> Steps:
    """tmem_control, control domain only. In Xen the sysctl lock is held as well as tmem's own."""
    yield tmem_step("tmem control")
    if host.tmem is None:
        return Result(-Errno.ENOSYS)
    if not caller.privileged:
        return Result(-Errno.EPERM)
    if request.cmd == abi.TMEM_FLUSH:
        ret = yield from _flush(host, request)
        return Result(ret)
    return _at_once(host, request)


def _at_once(host: Host, request: TmemControl) -> Result:
    match request.cmd:
        case abi.TMEM_THAW | abi.TMEM_FREEZE | abi.TMEM_DESTROY:
            return Result(_freeze(host, request))
        case abi.TMEM_LIST:
            return _list(host, request)
        case abi.TMEM_GET_CLIENT_INFO:
            return _get_client_info(host, request)
        case abi.TMEM_SET_CLIENT_INFO:
            return Result(_set_client_info(host, request))
        case abi.TMEM_QUERY_FREEABLE_MB:
            return Result(tmem_of(host).freeable // PAGES_PER_MIB)
        case abi.TMEM_SET_AUTH:
            return Result(_set_auth(host, request))
        case abi.TMEM_SAVE_BEGIN | abi.TMEM_SAVE_END | abi.TMEM_RESTORE_BEGIN:
            return Result(_save(host, request))
        case _:
            return Result(_UNKNOWN)


def _freeze(host: Host, request: TmemControl) -> int:
    """FREEZE; THAW and DESTROY clear the flag. All means the clients there are now (T14)."""
    clients = _clients(host, request.cli_id)
    for client in clients or ():
        client.frozen = request.cmd == abi.TMEM_FREEZE
    return _UNKNOWN if clients is None else 0


def _flush(host: Host, request: TmemControl) -> Part[int]:
    """FLUSH: evict until the list is long enough, then give all of it to the heap: KiB given (T15)."""
    tmem = tmem_of(host)
    if request.cli_id != TMEM_CLI_ID_NULL:
        return _UNKNOWN
    wanted: Pages = ((request.arg + KIB_PER_PAGE - 1) & UINT_MAX) // KIB_PER_PAGE
    while len(tmem.page_list) < wanted and evict(host):
        yield tmem_step("evict")
    yield tmem_step("release list")
    given = len(tmem.page_list)
    while tmem.page_list:
        mfn = tmem.page_list.pop()
        host.frames.set_owner(mfn, 0, IN_FLIGHT, TMEM_OWNER)
        host.in_flight_pages += 1
        give_back(host, mfn, 0)
    return given * KIB_PER_PAGE


def _list(host: Host, request: TmemControl) -> Result:
    clients = _clients(host, request.cli_id)
    if clients is None:
        return Result(_UNKNOWN)
    everything = request.cli_id == TMEM_CLI_ID_NULL
    return Result(0, TmemList(list_tmem(tmem_of(host), clients, everything, bool(request.arg))))


def _get_client_info(host: Host, request: TmemControl) -> Result:
    client = tmem_of(host).clients.get(request.cli_id)
    if client is None:
        return Result(0, TmemClientInfo())
    flags = (
        CLIENT_FROZEN * client.frozen
        | CLIENT_COMPRESS * client.compress
        | CLIENT_MIGRATING * client.migrating
    )
    return Result(0, TmemClientInfo(nr_pools=client.nr_pools, flags=flags, weight=client.weight))


def _set_client_info(host: Host, request: TmemControl) -> int:
    """Weight and compression; the sum of weights follows (T16)."""
    info = request.info or TmemClientInfo()
    clients = _clients(host, request.cli_id)
    if not clients:
        return -Errno.ENOENT
    if info.version != TMEM_SPEC_VERSION:
        return -Errno.EOPNOTSUPP
    if info.maxpools > MAX_POOLS_PER_DOMAIN:
        return -Errno.ERANGE
    for client in clients:
        tmem_of(host).weight_total += info.weight - client.weight
        client.weight = info.weight
        client.compress = bool(info.flags & CLIENT_COMPRESS)
    return 0


def _set_auth(host: Host, request: TmemControl) -> int:
    """SET_AUTH. 4.12 makes the client when there is none and answers 1 for what was not authorised (T13)."""
    tmem = tmem_of(host)
    if not host.release.tmem_shared_auth_required:
        return _auth_before_sysctl(host, request)
    client = tmem.clients.get(request.cli_id) or create_client(host, request.cli_id)
    if client is None:
        return -Errno.ENOMEM  # so do all clients at once: nobody has that domid
    if not request.auth:
        client.authorised = [None if one == request.uuid else one for one in client.authorised]
        return 1
    if None not in client.authorised:
        return -Errno.ENOMEM
    client.authorised[client.authorised.index(None)] = request.uuid
    return 1


def _auth_before_sysctl(host: Host, request: TmemControl) -> int:
    tmem = tmem_of(host)
    if request.cli_id == TMEM_CLI_ID_NULL:
        tmem.shared_auth = request.auth
        return 1
    client = tmem.clients.get(request.cli_id)
    if client is None:
        return -Errno.EINVAL
    wanted = None if request.auth else request.uuid
    if wanted not in client.authorised:
        return -Errno.ENOMEM if request.auth else 0
    client.authorised[client.authorised.index(wanted)] = request.uuid if request.auth else None
    return 1


def _save(host: Host, request: TmemControl) -> int:
    """SAVE_BEGIN freezes, with arg 1 it marks the client migrating; SAVE_END undoes it (t18)."""
    client = tmem_of(host).clients.get(request.cli_id)
    if request.cmd == abi.TMEM_RESTORE_BEGIN:
        if client is not None:
            return -Errno.EEXIST
        return 0 if create_client(host, request.cli_id) is not None else -Errno.ENOMEM
    if client is None or (request.cmd == abi.TMEM_SAVE_BEGIN and not any(client.pools)):
        return -Errno.ENOENT
    if request.cmd == abi.TMEM_SAVE_BEGIN:
        client.was_frozen, client.frozen = client.frozen, True
        client.migrating = client.migrating or bool(request.arg)
        return 0
    end_migration(host, client)
    client.frozen = client.was_frozen
    return 0


def _clients(host: Host, cli_id: int) -> list[Client] | None:
    """The client, or all of them; None: no such client."""
    clients = tmem_of(host).clients
    if cli_id == TMEM_CLI_ID_NULL:
        return list(clients.values())
    client = clients.get(cli_id)
    return None if client is None else [client]
