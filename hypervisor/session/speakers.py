"""Whom the hypervisor's half of the exchange knows: speakers, the connections they use, running Calls."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Mapping
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DomId

Key = tuple[int, int]
"""(domid, incarnation)."""
SECRET_BYTES: Final = 16
REMEMBERED_BYTES: Final = 1 << 20
"""Of answers kept for one guest, unless the last alone is longer; who lists a thousand domains is none."""


class Role(StrEnum):
    """Which of the two sockets a frame came in by, so what its sender can be at most."""

    GUESTS = "guests"
    TOOLSTACKS = "toolstacks"


def domain_secret(host_key: bytes, domid: DomId, incarnation: int) -> bytes:
    """What a guest process must know to speak as this domain: a keyed hash, so nothing need be stored."""
    text = domid.to_bytes(2, "big") + incarnation.to_bytes(8, "big")
    return blake2b(text, key=host_key[:64], digest_size=SECRET_BYTES).digest()


def observers_secret(control_secret: bytes) -> bytes:
    """What an observer must know. It follows from the control secret; nobody gets from it to that."""
    return blake2b(b"observers", key=control_secret[:64], digest_size=SECRET_BYTES).digest()


def same_secret(given: bytes, wanted: bytes) -> bool:
    """Compare without telling by the time it takes how much of it was right."""
    return hmac.compare_digest(given, wanted)


class RunningCall(Struct, eq=False):
    """A Call being run. `requests[len(replies)]` is the one submitted now."""

    speaker: Speaker
    key: Key
    """The speaker's."""
    seq: int
    requests: tuple[Request, ...]
    replies: list[Reply]
    number: int = 0
    """In the journal, if there is one: counted from 1 in order of arrival."""
    gone: bool = False
    """Its domain is gone: nobody waits for the answer, and no further request of it may begin."""
    asked: int = 0
    """Its own bytes, if it is long (`session.unread`)."""
    gathered: int = 0
    """Bytes of its replies so far, if it is a multicall."""


class Speaker:
    """A domain's incarnation (or a toolstack) as a caller. It outlives the connections it speaks over."""

    __slots__ = (
        "asked",
        "caller",
        "floor",
        "gathered",
        "held",
        "in_progress",
        "key",
        "name",
        "operations",
        "peer",
        "remembered",
        "unread",
        "virqs",
    )

    def __init__(self, key: Key, name: str) -> None:
        self.key = key
        self.name = name
        self.caller: Any = None  # what the key is to whoever runs its Calls, made once
        self.peer: Peer | None = None  # the connection it speaks over now
        self.in_progress: dict[int, RunningCall] = {}
        self.remembered: OrderedDict[int, bytes] = OrderedDict()  # Answer frames by seq, oldest answer first
        self.held = 0  # bytes of these
        self.asked = 0  # bytes of long Calls in progress (`unread`)
        self.gathered = 0  # bytes of replies to its multicalls that are not through, likewise
        self.unread = 0  # bytes of answers that it has not taken in, likewise
        self.floor = -1  # the highest seq whose answer has been forgotten
        self.virqs: tuple[int, ...] = ()
        self.operations = 0  # requests that have had their reply

    def remember(self, seq: int, frame: bytes, limit: int) -> None:
        """Keep the answer for a resent Call, forgetting the oldest beyond `limit`."""
        remembered = self.remembered
        remembered[seq] = frame
        held = self.held + len(frame)
        most = REMEMBERED_BYTES if self.key[0] else held
        while len(remembered) > limit or (held > most and len(remembered) > 1):
            # Not next(iter(...)) of a dict, which passes over everything forgotten before.
            forgotten, old = remembered.popitem(last=False)
            held -= len(old)
            if forgotten > self.floor:
                self.floor = forgotten
        self.held = held


class Peer:
    """One connection, under the routing id libzmq gave it. Only kept while it speaks for someone."""

    __slots__ = ("heard", "role", "routing", "silent", "speakers")

    def __init__(self, role: Role, routing: bytes, now: int) -> None:
        self.role = role
        self.routing = routing
        self.speakers: dict[Key, Speaker] = {}
        self.heard = now  # real ms
        self.silent = False


class Note:
    """Something about a session worth a journal record. It has no commit number: it changed no book."""

    __slots__ = ("fields", "kind", "time")

    def __init__(self, kind: str, time: int, fields: Mapping[str, object]) -> None:
        self.kind = kind
        self.time = time
        self.fields = fields


def peer_fields(peer: Peer) -> dict[str, Any]:
    """A peer in a journal note."""
    return {"role": peer.role.value, "domains": [list(key) for key in peer.speakers]}
