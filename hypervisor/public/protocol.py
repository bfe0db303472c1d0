"""The wire: msgpack messages between a peer and the hypervisor process.

Every message is one ZeroMQ frame holding one msgpack array whose first element is the tag.
A peer says Hello once per domain it speaks for, then sends Calls with at most `credits` unanswered.
"""

from typing import Final

import msgspec
from msgspec import Struct

from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import U16, U64, DomId

PROTOCOL_VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 1 << 20
"""ZMQ_MAXMSGSIZE: a larger frame ends its sender's connection before it is read."""
MAX_MULTICALL: Final = 1024
"""Most requests in one Call."""
MAX_UNANSWERED_BYTES: Final = 4 << 20
"""Most bytes of one domain's unanswered Calls; one Call alone is never too many."""


class Hello(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """I speak for this domain: bound when the secret fits the domid and the incarnation.

    A toolstack says domid 0 with the control secret and an incarnation of its own choosing (a random
    64-bit number), which names it across reconnects.
    """

    protocol: int
    domid: U16
    incarnation: U64
    secret: bytes
    name: str = ""  # for logs only


class Call(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """One request, or several as a multicall, run in order; others may run between them.

    `seq` counts up by one per (domid, incarnation). A resent Call with the same seq is answered
    from memory and has no second effect.
    """

    domid: U16
    incarnation: U64
    seq: U64
    requests: tuple[Request, ...]


class Listen(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """Send me these VIRQs (control domain only)."""

    domid: U16
    incarnation: U64
    virqs: tuple[int, ...]


class Ping(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """My Python still runs: renews the lease of every domain bound to this connection."""

    nonce: U64


class Goodbye(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """I stop speaking for this domain on purpose. Frees nothing: only Xen's own calls do."""

    domid: U16
    incarnation: U64


ToHypervisor = Hello | Call | Listen | Ping | Goodbye


class Welcome(Struct, frozen=True, array_like=True, tag=1):
    """Hello accepted."""

    domid: DomId
    incarnation: int
    release: str
    credits: int
    """Calls that may be unanswered at once."""
    lease_ms: int
    """Real milliseconds of silence after which the hypervisor notes the peer as stopped; 0 is never."""


class Answer(Struct, frozen=True, array_like=True, tag=2):
    """Replies to the Call `seq`, one per request."""

    domid: DomId
    incarnation: int
    seq: int
    replies: tuple[Reply, ...]


class Refused(Struct, frozen=True, array_like=True, tag=3):
    """The wire refused a message: it had no effect. `seq` is -1 when it could not be read."""

    domid: int
    incarnation: int
    seq: int
    error: str  # a WireError value
    text: str


class Notify(Struct, frozen=True, array_like=True, tag=4):
    """An event for a bound domain."""

    domid: DomId
    incarnation: int
    event: Event


class Pong(Struct, frozen=True, array_like=True, tag=5):
    """Answer to Ping."""

    nonce: int


FromHypervisor = Welcome | Answer | Refused | Notify | Pong

ENCODER: Final = msgspec.msgpack.Encoder()
TO_HYPERVISOR: Final = msgspec.msgpack.Decoder(ToHypervisor)
FROM_HYPERVISOR: Final = msgspec.msgpack.Decoder(FromHypervisor)


def encode(message: ToHypervisor | FromHypervisor) -> bytes:
    """The message's bytes."""
    return ENCODER.encode(message)
