"""How much of a guest's own asking the hypervisor keeps for it, in bytes, and what waits beyond that.

Counted are a speaker's long answers, from when they are made until the socket has taken them
(`Speaker.unread`), its replies to multicalls that are not through (`Speaker.gathered`), and its long Calls
under way (`Speaker.asked`). Whoever has too much is not served further: its Calls wait here, as the bytes
that came, until it has read. Nothing of it is lost, and nobody else notices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from hypervisor.public.protocol import ENCODER, MAX_MESSAGE_BYTES, MAX_UNANSWERED_BYTES
from hypervisor.public.requests import Value
from hypervisor.session.speakers import Key, Role, RunningCall, Speaker

LONG: Final = 8192
"""Bytes from which a message is counted. Shorter ones are bounded by their number."""
MOST_ASKED: Final = MAX_MESSAGE_BYTES
"""Bytes of long Calls begun and unanswered: read, a Call takes up to 22 times its bytes (`[[0, 0], ...]`)."""
UNREAD_BYTES: Final = 8 << 20
"""Of answers that one speaker has not taken in."""

CALL_HEAD: Final = msgspec.msgpack.Decoder(tuple[int, int, int, int, msgspec.Raw])
"""Enough of a Call to name it."""

Arrived = tuple[Role, bytes, bytes]
"""(socket, routing id, frame)."""


class Waiting:
    """Calls that cannot go on before their speaker has read what it has asked for."""

    def __init__(self, most_unread: int) -> None:
        """`most_unread` bytes a speaker; 0 for no bound, where nobody tells what has been read."""
        self.most_unread = most_unread or 1 << 62
        self._bounded = bool(most_unread)
        self._arrived: dict[Key, dict[int, Arrived]] = {}
        self._stalled: dict[Key, list[RunningCall]] = {}
        self._speakers: dict[Key, Speaker] = {}

    def __bool__(self) -> bool:
        """Whether any Call waits."""
        return bool(self._arrived or self._stalled)

    def must_wait(self, speaker: Speaker, frame: bytes) -> bool:
        """Whether a Call of the speaker may not begin now."""
        if speaker.unread + speaker.gathered > self.most_unread:
            return True
        size = len(frame)
        return self._bounded and size >= LONG and bool(speaker.asked) and speaker.asked + size > MOST_ASKED

    def has(self, key: Key, seq: int) -> bool:
        """Whether that Call waits to begin."""
        return seq in self._arrived.get(key, ())

    def has_room(self, speaker: Speaker, frame: bytes, credits: int) -> bool:
        """Whether another Call may wait. A client that counts its Calls and their bytes never meets False."""
        calls = self._arrived.get(speaker.key, {})
        held = sum(len(one) for _, _, one in calls.values())
        return len(calls) + len(speaker.in_progress) < credits and (
            not held or held + len(frame) <= MAX_UNANSWERED_BYTES
        )

    def add(self, speaker: Speaker, seq: int, arrived: Arrived) -> None:
        """Let a Call wait."""
        self._speakers[speaker.key] = speaker
        self._arrived.setdefault(speaker.key, {})[seq] = arrived

    def forget_arrived(self, key: Key) -> None:
        """Its connection is gone: who comes back over another one sends again what has no answer."""
        self._arrived.pop(key, None)

    def forget(self, key: Key) -> None:
        """The domain is gone."""
        self._arrived.pop(key, None)
        self._stalled.pop(key, None)
        self._speakers.pop(key, None)

    def all_arrived(self) -> list[Arrived]:
        """Every Call that has not begun; none waits any more."""
        everyone = [one for calls in self._arrived.values() for one in calls.values()]
        self._arrived.clear()
        return everyone

    # ---- multicalls

    def gathered(self, running: RunningCall, value: Value) -> bool:
        """Count a reply of a multicall that is not through. True when the Call waits here from now on.

        The oldest of its speaker does only for answers unread, or nothing would ever be through.
        """
        if not self._bounded:
            return False
        size = len(ENCODER.encode(value))
        speaker = running.speaker
        running.gathered += size
        speaker.gathered += size
        if self._may_go_on(running):
            return False
        self._speakers[speaker.key] = speaker
        self._stalled.setdefault(speaker.key, []).append(running)
        return True

    def ended(self, running: RunningCall) -> None:
        """A Call is answered: its own bytes and those of its replies count no longer."""
        running.speaker.gathered -= running.gathered
        running.speaker.asked -= running.asked

    # ---- answers

    def counted(self, speaker: Speaker, frame: bytes) -> Speaker | None:
        """Count an answer that is about to be sent, if it is long; who is to be told when it has left."""
        if not self._bounded or len(frame) < LONG:
            return None
        speaker.unread += len(frame)
        return speaker

    # ---- going on

    def due(self) -> Iterator[Arrived | RunningCall]:
        """What may begin, or go on, now. Each must have done so before the next one is asked for."""
        for key in list(self._speakers):
            speaker = self._speakers[key]
            yield from self._due_stalled(key, speaker)
            yield from self._due_arrived(key, speaker)
            if key not in self._arrived and key not in self._stalled:
                del self._speakers[key]

    def _due_stalled(self, key: Key, speaker: Speaker) -> Iterator[RunningCall]:
        stalled = self._stalled.get(key, [])
        for running in list(stalled):
            if not running.gone and self._may_go_on(running):
                stalled.remove(running)
                yield running
        if not stalled:
            self._stalled.pop(key, None)

    def _may_go_on(self, running: RunningCall) -> bool:
        speaker, most = running.speaker, self.most_unread
        return speaker.unread <= most and (speaker.unread + speaker.gathered <= most or is_oldest(running))

    def _due_arrived(self, key: Key, speaker: Speaker) -> Iterator[Arrived]:
        calls = self._arrived.get(key, {})
        while calls:
            seq = next(iter(calls))
            if self.must_wait(speaker, calls[seq][2]):
                return
            yield calls.pop(seq)
        self._arrived.pop(key, None)


def is_oldest(running: RunningCall) -> bool:
    """Whether no Call of its speaker has been under way for longer."""
    return next(iter(running.speaker.in_progress)) == running.seq


def call_head(frame: bytes) -> tuple[int, int, int] | None:
    """A Call's domid, incarnation and seq; None for another message, or one that cannot be read so far."""
    try:
        tag, domid, incarnation, seq, _ = CALL_HEAD.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return (domid, incarnation, seq) if tag == 2 else None
