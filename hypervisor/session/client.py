"""The client's half of the exchange, without I/O: one connection, any number of domains speaking over it.

Bytes that arrive go into `receive`, bytes to be sent come out of `outgoing`. Calls beyond the credit
window wait here. After a reconnect every unanswered Call is sent again under its old `seq`: the
hypervisor answers one it has run already from memory, so nothing happens twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec import MsgspecError, Struct

from hypervisor.public.errors import WireError
from hypervisor.public.protocol import (
    FROM_HYPERVISOR,
    MAX_MESSAGE_BYTES,
    MAX_MULTICALL,
    MAX_UNANSWERED_BYTES,
    PROTOCOL_VERSION,
    Answer,
    Call,
    FromHypervisor,
    Goodbye,
    Hello,
    Listen,
    Notify,
    Ping,
    Pong,
    Refused,
    Welcome,
    encode,
)
from hypervisor.public.requests import Request
from hypervisor.public.units import DomId
from hypervisor.public.world import RefusedByWireError

Key = tuple[int, int]
"""(domid, incarnation): whom a Call speaks for."""


CallKey = tuple[int, int, int]
"""(domid, incarnation, seq)."""

SPAN: Final = 2
"""Times the credits: how far a Call may be ahead of the oldest unanswered one. As many answers the hypervisor
remembers, so the oldest, should it have been lost, is never refused as too old."""
MAX_HELLOS: Final = 5
"""How often a hello is repeated on UNKNOWN_PEER without an Answer between."""


class Indefinite(Struct, frozen=True):
    """The answer to the Call `seq` will never come: it may or may not have happened."""

    domid: DomId
    incarnation: int
    seq: int
    text: str


class HelloRefused(Struct, frozen=True):
    """The hypervisor will not hear this connection as that domain; every call of it ends with this."""

    domid: DomId
    incarnation: int
    error: str  # a WireError value
    text: str


Happening = Welcome | HelloRefused | Answer | Refused | Notify | Pong | Indefinite
"""What a party is told. A `Refused` with seq -1 refuses a Listen, not a Call."""

NOTHING: Final[tuple[Happening, ...]] = ()


class Speaker:
    """One domain that this connection speaks for."""

    __slots__ = (
        "credits",
        "hello",
        "hellos",
        "next_seq",
        "oldest",
        "refused",
        "resent",
        "unanswered",
        "unanswered_bytes",
        "virqs",
        "waiting",
    )

    def __init__(self, hello: Hello, first_seq: int) -> None:
        self.hello = hello
        self.hellos = 1  # said since the last Answer
        self.credits = 0  # 0 until Welcome: everything waits
        self.next_seq = first_seq
        self.oldest = first_seq  # no Call below it is unanswered
        self.unanswered: dict[int, bytes] = {}  # by seq, ascending: what a reconnect sends again
        self.unanswered_bytes = 0
        self.resent: dict[int, int] = {}  # of these, how often each was sent again
        self.refused: dict[int, int] = {}  # of these, how many copies met nobody who knew us, and did nothing
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.virqs: tuple[int, ...] = ()

    def may_send(self, seq: int, frame: bytes) -> bool:
        """There is credit for it, and it is not too far ahead of the oldest that waits for its answer."""
        if len(self.unanswered) >= self.credits:
            return False
        if self.unanswered and self.unanswered_bytes + len(frame) > MAX_UNANSWERED_BYTES:
            return False
        if seq - self.oldest < SPAN * self.credits:
            return True
        self.oldest = next(iter(self.unanswered), seq)
        return seq - self.oldest < SPAN * self.credits

    def sends(self, seq: int, frame: bytes) -> None:
        """It waits for an answer from now on."""
        self.unanswered[seq] = frame
        self.unanswered_bytes += len(frame)

    def ends(self, seq: int) -> bool:
        """It waits no more. False when it did not."""
        frame = self.unanswered.pop(seq, None)
        if frame is None:
            return False
        self.unanswered_bytes -= len(frame)
        self.refused.pop(seq, None)
        return True

    def sends_again(self, seq: int) -> bytes:
        """The same frame once more."""
        self.resent[seq] = self.resent.get(seq, 0) + 1
        return self.unanswered[seq]

    def did_nothing(self, seq: int) -> None:
        """A copy was refused because the hypervisor did not know this connection."""
        if seq in self.unanswered:
            self.refused[seq] = self.refused.get(seq, 0) + 1

    def may_have_run(self, seq: int) -> bool:
        """Whether a copy before the last one may have had an effect."""
        return self.resent.get(seq, 0) > self.refused.get(seq, 0)


class ClientSession:
    """See the module. Every method but `receive` and `lost` only queues bytes for `outgoing`."""

    def __init__(self, first_seq: int = 1) -> None:
        """`first_seq` must be above every seq that an earlier process used for the same domain."""
        self._first_seq = first_seq
        self._speakers: dict[Key, Speaker] = {}
        self._outgoing: list[bytes] = []
        self._nonce = 0
        self._pings_refused = 0  # since the last hello
        self.bad_frames = 0
        """Frames from the hypervisor that could not be read."""

    def hello(self, domid: DomId, incarnation: int, secret: bytes, name: str = "") -> None:
        """Begin to speak for a domain; answered by a `Welcome` or a `HelloRefused`."""
        hello = Hello(PROTOCOL_VERSION, domid, incarnation, secret, name)
        self._speakers[domid, incarnation] = Speaker(hello, self._first_seq)
        self._outgoing.append(encode(hello))

    def call(self, domid: DomId, incarnation: int, requests: Sequence[Request]) -> int:
        """Send the requests as one Call, or keep it until there is credit; gives its seq.

        Raises `RefusedByWireError` for what no hypervisor would take; nothing has been sent then.
        """
        speaker = self._speakers.get((domid, incarnation))
        if speaker is None:
            raise RefusedByWireError(WireError.UNKNOWN_PEER.value, f"no hello was said for domain {domid}")
        seq = speaker.next_seq
        frame = encoded_call(Call(domid, incarnation, seq, tuple(requests)))
        speaker.next_seq = seq + 1
        if not speaker.waiting and speaker.may_send(seq, frame):
            speaker.sends(seq, frame)
            self._outgoing.append(frame)
        else:
            speaker.waiting.append((seq, frame))
        return seq

    def listen(self, domid: DomId, incarnation: int, virqs: Sequence[int]) -> None:
        """Ask for these VIRQs (control domain only); a refusal is a `Refused` with seq -1."""
        self._speakers[domid, incarnation].virqs = tuple(virqs)
        self._outgoing.append(encode(Listen(domid, incarnation, tuple(virqs))))

    def ping(self) -> int:
        """Renew the leases; gives the nonce that its `Pong` will carry."""
        self._nonce += 1
        self._outgoing.append(encode(Ping(self._nonce)))
        return self._nonce

    def goodbye(self, domid: DomId, incarnation: int) -> None:
        """Stop speaking for a domain. What is unanswered stays unanswered."""
        if self._speakers.pop((domid, incarnation), None) is not None:
            self._outgoing.append(encode(Goodbye(domid, incarnation)))

    def in_flight(self) -> int:
        """Calls unanswered or waiting for credit, over all domains."""
        return sum(len(s.unanswered) + len(s.waiting) for s in self._speakers.values())

    def has_outgoing(self) -> bool:
        """True when `outgoing` has something to send."""
        return bool(self._outgoing)

    def outgoing(self) -> list[bytes]:
        """The frames to send now, in order; they are the caller's afterwards."""
        frames, self._outgoing = self._outgoing, []
        return frames

    def reconnected(self) -> None:
        """The connection is a new one: say every hello again, then send what is unanswered again."""
        self._outgoing = []  # meant for the old connection; all that matters of it follows
        self._pings_refused = 0
        for speaker in self._speakers.values():
            speaker.credits = 0  # until the new Welcome
            self._outgoing.append(encode(speaker.hello))
            if speaker.virqs:
                hello = speaker.hello
                self._outgoing.append(encode(Listen(hello.domid, hello.incarnation, speaker.virqs)))
            self._outgoing.extend(speaker.sends_again(seq) for seq in speaker.unanswered)

    def unanswered(self) -> list[CallKey]:
        """The Calls that were sent and have no answer, oldest first for each domain."""
        return [(*key, seq) for key, speaker in self._speakers.items() for seq in speaker.unanswered]

    def resend(self, key: CallKey) -> None:
        """Send an unanswered Call again, under its seq: its answer, or the Call itself, may be lost."""
        domid, incarnation, seq = key
        self._outgoing.append(self._speakers[domid, incarnation].sends_again(seq))

    def abandon(self, key: CallKey, text: str) -> Indefinite:
        """Wait no longer for an unanswered Call; an answer that comes after all means nothing."""
        domid, incarnation, seq = key
        speaker = self._speakers[domid, incarnation]
        speaker.ends(seq)
        speaker.resent.pop(seq, None)
        self._send_waiting(speaker)
        return Indefinite(domid, incarnation, seq, text)

    def lost(self, text: str = "the connection is lost") -> list[Happening]:
        """Give up: what was sent is indefinite, what still waited was definitely not sent."""
        happenings: list[Happening] = []
        for (domid, incarnation), speaker in self._speakers.items():
            for seq in speaker.unanswered:
                happenings.append(Indefinite(domid, incarnation, seq, text))
            for seq, _ in speaker.waiting:
                unknown = WireError.UNKNOWN_PEER.value
                happenings.append(Refused(domid, incarnation, seq, unknown, f"never sent: {text}"))
        self._speakers.clear()
        self._outgoing.clear()
        return happenings

    def receive(self, frame: bytes) -> Sequence[Happening]:
        """What a frame from the hypervisor means; a second answer to the same Call means nothing."""
        try:
            message: FromHypervisor = FROM_HYPERVISOR.decode(frame)
        except (MsgspecError, ValueError, RecursionError):
            self.bad_frames += 1
            return NOTHING
        if type(message) is Answer:
            return self._answered(message)
        if type(message) is Welcome:
            return self._welcomed(message)
        if type(message) is Refused:
            return self._refused(message)
        return (message,)

    def _answered(self, answer: Answer) -> Sequence[Happening]:
        speaker = self._speakers.get((answer.domid, answer.incarnation))
        if speaker is None or not speaker.ends(answer.seq):
            return NOTHING
        speaker.resent.pop(answer.seq, None)
        speaker.hellos = 1
        self._send_waiting(speaker)
        return (answer,)

    def _welcomed(self, welcome: Welcome) -> Sequence[Happening]:
        speaker = self._speakers.get((welcome.domid, welcome.incarnation))
        if speaker is None:
            return NOTHING
        speaker.credits = welcome.credits
        self._send_waiting(speaker)
        return (welcome,)

    def _send_waiting(self, speaker: Speaker) -> None:
        while speaker.waiting and speaker.may_send(*speaker.waiting[0]):
            seq, frame = speaker.waiting.popleft()
            speaker.sends(seq, frame)
            self._outgoing.append(frame)

    def _refused(self, refused: Refused) -> Sequence[Happening]:
        speaker = self._speakers.get((refused.domid, refused.incarnation))
        if speaker is None:
            if refused.error == WireError.UNKNOWN_PEER.value and refused.domid < 0:
                self._stranger()
            return NOTHING
        if refused.seq >= 0:
            return self._call_refused(speaker, refused)
        if speaker.credits == 0:
            return self._hello_refused(speaker, refused)
        return (refused,)

    def _call_refused(self, speaker: Speaker, refused: Refused) -> Sequence[Happening]:
        if refused.error == WireError.UNKNOWN_PEER.value and self._say_hello_again(speaker):
            speaker.did_nothing(refused.seq)
            return NOTHING
        if not speaker.ends(refused.seq):
            return NOTHING
        self._send_waiting(speaker)
        if refused.seq in speaker.resent:
            # This copy had no effect, but the one before the reconnect may have had.
            del speaker.resent[refused.seq]
            text = f"{refused.error} for a Call sent again: it may or may not have happened"
            return (Indefinite(refused.domid, refused.incarnation, refused.seq, text),)
        return (refused,)

    def _stranger(self) -> None:
        """A Ping was refused: the hypervisor knows nothing of this connection."""
        self._pings_refused += 1
        greeted = [speaker for speaker in self._speakers.values() if speaker.credits]
        for speaker in greeted:
            if self._say_hello_again(speaker):
                return  # that said it for all of them
        if not greeted and self._pings_refused > 1:
            self.reconnected()  # the first may have left before the hello, the second tells that it was lost

    def _say_hello_again(self, speaker: Speaker) -> bool:
        """The wire broke and mended unseen, so the hypervisor met a stranger: nothing is lost by that.

        False when saying hello has not helped MAX_HELLOS times in a row.
        """
        if speaker.credits == 0:
            return True  # the hello that mends it is under way already, and the Call after it
        speaker.hellos += 1
        if speaker.hellos > MAX_HELLOS:
            return False
        self.reconnected()
        return True

    def _hello_refused(self, speaker: Speaker, refused: Refused) -> Sequence[Happening]:
        """Nobody will ever send what waits for this Welcome: refuse it in the same words.

        Of what was sent only the last copy came behind this hello; the hypervisor does not run that one.
        """
        domid, incarnation, error = refused.domid, refused.incarnation, refused.error
        happenings: list[Happening] = [HelloRefused(domid, incarnation, error, refused.text)]
        for seq in speaker.unanswered:
            if speaker.may_have_run(seq):
                happenings.append(Indefinite(domid, incarnation, seq, f"{error} after a reconnect"))
            else:
                happenings.append(Refused(domid, incarnation, seq, error, refused.text))
        for seq, _ in speaker.waiting:
            happenings.append(Refused(domid, incarnation, seq, error, refused.text))
        del self._speakers[domid, incarnation]
        return happenings


def encoded_call(call: Call) -> bytes:
    """The Call's bytes. Raises `RefusedByWireError` for one that is too long or cannot be written."""
    if len(call.requests) > MAX_MULTICALL:
        text = f"{len(call.requests)} requests in one Call: split it, at most {MAX_MULTICALL}"
        raise RefusedByWireError(WireError.MALFORMED.value, text)
    try:
        frame = encode(call)
    except (MsgspecError, OverflowError, TypeError) as error:
        raise RefusedByWireError(WireError.MALFORMED.value, str(error)) from error
    if len(frame) > MAX_MESSAGE_BYTES:
        text = f"a message of {len(frame)} bytes: split it, at most {MAX_MESSAGE_BYTES}"
        raise RefusedByWireError(WireError.OVERSIZED.value, text)
    return frame
