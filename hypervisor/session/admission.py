"""Who may speak as whom: hellos and their secrets."""

from __future__ import annotations

from collections.abc import Callable

from hypervisor.public.domctl import Created
from hypervisor.public.errors import WireError
from hypervisor.public.protocol import PROTOCOL_VERSION, Hello
from hypervisor.public.requests import Reply
from hypervisor.public.units import DOMID_DOM0, DomId
from hypervisor.session.speakers import Key, Peer, Role, domain_secret, same_secret

Fault = tuple[WireError, str]
"""Why not."""


class Admission:
    """Knows the secrets, and who is alive."""

    def __init__(
        self, host_key: bytes, control_secret: bytes, is_alive: Callable[[DomId, int], bool]
    ) -> None:
        """`is_alive(domid, incarnation)` tells whether that very domain exists and is not dying."""
        self._host_key = host_key
        self._control_secret = control_secret
        self._is_alive = is_alive

    def fault(self, role: Role, hello: Hello) -> Fault | None:
        """Why a hello is refused. Secrets come first, so that a stranger cannot ask who is alive."""
        if hello.protocol != PROTOCOL_VERSION:
            text = f"protocol {hello.protocol}: this hypervisor speaks {PROTOCOL_VERSION}"
            return WireError.MALFORMED, text
        if (hello.domid == DOMID_DOM0) != (role is Role.TOOLSTACKS):
            socket = "toolstacks" if hello.domid == DOMID_DOM0 else "guests"
            return WireError.NOT_PERMITTED, f"domain {hello.domid} speaks at the {socket} socket only"
        if hello.domid == DOMID_DOM0:
            wanted = self._control_secret
        else:
            wanted = domain_secret(self._host_key, hello.domid, hello.incarnation)
        if not same_secret(hello.secret, wanted):
            return WireError.BAD_SECRET, f"not the secret of domain {hello.domid}"
        if hello.domid != DOMID_DOM0 and not self._is_alive(hello.domid, hello.incarnation):
            return WireError.STALE_INCARNATION, f"domain {hello.domid} is not that one any more"
        return None

    def with_secret(self, reply: Reply, created: Created) -> Reply:
        """The reply to who created a domain, with what the domain's guest must know."""
        secret = domain_secret(self._host_key, created.domid, created.incarnation)
        value = Created(created.domid, created.incarnation, secret)
        return Reply(reply.ret, reply.first, reply.last, value)


def unknown(peer: Peer | None, key: Key) -> Fault:
    """Why a peer may not speak as `key`: it never said hello for it, or for another incarnation."""
    if peer is not None and any(domid == key[0] for domid, _ in peer.speakers):
        text = f"this connection speaks for another incarnation of domain {key[0]}"
        return WireError.STALE_INCARNATION, text
    return WireError.UNKNOWN_PEER, f"this connection said no hello for domain {key[0]}"
