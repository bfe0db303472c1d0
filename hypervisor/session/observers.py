"""The observers' half of the exchange, without I/O: may this one look, and what is it told.

No session: whoever sends the right secret gets one answer to each message, and is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from hypervisor.public.errors import WireError
from hypervisor.public.observation import (
    OBSERVATION_VERSION,
    OBSERVE,
    ObservationRefused,
    Observe,
    Snapshot,
)
from hypervisor.session.speakers import same_secret

ENCODER = msgspec.msgpack.Encoder()

Frame = tuple[bytes, bytes | None]
"""(routing id, frame); None for a message of several frames."""


def answers(
    secret: bytes, arrived: Iterable[Frame], take: Callable[[], Snapshot]
) -> Iterator[tuple[bytes, bytes]]:
    """(routing id, answer) for each message. `take` is called once at most, and only if somebody may look."""
    snapshot: Snapshot | None = None
    for routing, frame in arrived:
        asked = read(frame, secret)
        if isinstance(asked, ObservationRefused):
            yield routing, ENCODER.encode(asked)
            continue
        snapshot = take() if snapshot is None else snapshot
        yield routing, ENCODER.encode(msgspec.structs.replace(snapshot, nonce=asked.nonce))


def read(frame: bytes | None, secret: bytes) -> Observe | ObservationRefused:
    """The message, or why it gets no snapshot."""
    if frame is None:
        return ObservationRefused(WireError.MALFORMED.value, "one frame per message")
    try:
        asked = OBSERVE.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return ObservationRefused(WireError.MALFORMED.value, str(error))
    if asked.version != OBSERVATION_VERSION:
        text = f"version {asked.version}: this hypervisor speaks {OBSERVATION_VERSION}"
        return ObservationRefused(WireError.MALFORMED.value, text)
    if not same_secret(asked.secret, secret):
        return ObservationRefused(WireError.BAD_SECRET.value, "not the observers' secret")
    return asked
