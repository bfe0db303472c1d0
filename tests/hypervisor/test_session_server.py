"""The hypervisor's half of the exchange: who may speak, credits, dedupe, leases, refusals."""

from __future__ import annotations

import msgpack
import pytest

from hypervisor.public.domctl import Created, CreateDomain, Physinfo
from hypervisor.public.errors import WireError
from hypervisor.public.protocol import (
    FROM_HYPERVISOR,
    MAX_MULTICALL,
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
    ToHypervisor,
    Welcome,
    encode,
)
from hypervisor.public.requests import Reply, Request, VirqEvent, WatchEvent
from hypervisor.session.abuse import MOST_ABUSES
from hypervisor.session.server import ServerSession
from hypervisor.session.speakers import Role, RunningCall, domain_secret

KEY = b"k" * 32
CONTROL = b"control secret"
CREDITS = 4
GUESTS, TOOLSTACKS = Role.GUESTS, Role.TOOLSTACKS


class Wire:
    """A session with a list of living domains, and what it last sent."""

    def __init__(self) -> None:
        self.alive = {(5, 1), (6, 2)}
        self.session = ServerSession(
            host_key=KEY,
            control_secret=CONTROL,
            is_alive=lambda domid, incarnation: (domid, incarnation) in self.alive,
            release="4.17",
            credits=CREDITS,
            lease_ms=1000,
        )

    def say(
        self, message: ToHypervisor, routing: bytes = b"g", role: Role = GUESTS, now: int = 0
    ) -> RunningCall | None:
        return self.session.receive(role, routing, encode(message), now)

    def sent(self) -> list[FromHypervisor]:
        frames, self.session.outbox = self.session.outbox, []
        return [FROM_HYPERVISOR.decode(frame) for *_, frame, _ in frames]

    def refusal(self) -> str:
        """The error of the only thing sent."""
        (refused,) = self.sent()
        assert isinstance(refused, Refused)
        return refused.error

    def hello(self, domid: int = 5, incarnation: int = 1, routing: bytes = b"g", now: int = 0) -> None:
        secret = domain_secret(KEY, domid, incarnation)
        self.say(Hello(1, domid, incarnation, secret), routing, now=now)
        assert isinstance(self.sent()[0], Welcome)

    def toolstack(self, routing: bytes = b"t", now: int = 0) -> None:
        self.say(Hello(1, 0, 99, CONTROL), routing, TOOLSTACKS, now)
        assert isinstance(self.sent()[0], Welcome)

    def call(self, seq: int, *requests: Request, routing: bytes = b"g") -> RunningCall | None:
        return self.say(Call(5, 1, seq, requests or (Physinfo(),)), routing)

    def finish(self, call: RunningCall | None) -> None:
        assert call is not None
        while self.session.replied(call, Reply(0, 1, 1)) is not None:
            pass


@pytest.mark.parametrize(
    ("hello", "role", "error"),
    [
        (Hello(1, 5, 1, b"guess"), GUESTS, "bad-secret"),
        (Hello(1, 5, 2, domain_secret(KEY, 5, 1)), GUESTS, "bad-secret"),
        (Hello(1, 6, 1, domain_secret(KEY, 5, 1)), GUESTS, "bad-secret"),
        (Hello(1, 5, 9, domain_secret(KEY, 5, 9)), GUESTS, "stale-incarnation"),
        (Hello(1, 0, 9, CONTROL), GUESTS, "not-permitted"),
        (Hello(1, 5, 1, domain_secret(KEY, 5, 1)), TOOLSTACKS, "not-permitted"),
        (Hello(1, 0, 9, b"guess"), TOOLSTACKS, "bad-secret"),
        (Hello(2, 5, 1, domain_secret(KEY, 5, 1)), GUESTS, "malformed"),
    ],
)
def test_only_a_right_hello_binds(hello: Hello, role: Role, error: str) -> None:
    """A hello needs the right socket, secret, incarnation and protocol; otherwise nothing is bound."""
    wire = Wire()
    wire.say(hello, role=role)
    assert wire.refusal() == error
    assert wire.say(Call(hello.domid, hello.incarnation, 1, (Physinfo(),)), role=role) is None
    assert wire.refusal() == "unknown-peer"


def test_a_connection_speaks_only_as_whom_it_said_hello() -> None:
    """Calls in another domain's name or another incarnation's are refused, also between two bound peers."""
    wire = Wire()
    wire.hello(5, 1, b"a")
    wire.hello(6, 2, b"b")
    for routing, domid, incarnation, error in (
        (b"a", 6, 2, "unknown-peer"),
        (b"b", 5, 1, "unknown-peer"),
        (b"a", 5, 2, "stale-incarnation"),
        (b"c", 5, 1, "unknown-peer"),
        (b"a", 0, 99, "unknown-peer"),
    ):
        assert wire.say(Call(domid, incarnation, 1, (Physinfo(),)), routing) is None
        assert wire.refusal() == error


def test_one_connection_carries_many_domains() -> None:
    """Hellos add up: each domain of a connection has its own seqs and credits."""
    wire = Wire()
    wire.hello(5, 1)
    wire.hello(6, 2)
    for domid, incarnation in ((5, 1), (6, 2)):
        for seq in range(1, CREDITS + 1):
            assert wire.say(Call(domid, incarnation, seq, (Physinfo(),))) is not None


def test_calls_above_the_window_are_refused() -> None:
    """With all credits unanswered a further Call is refused; an answer gives the credit back."""
    wire = Wire()
    wire.hello()
    calls = [wire.call(seq) for seq in range(1, CREDITS + 1)]
    assert wire.call(99) is None
    assert wire.refusal() == "no-credit"
    wire.finish(calls[0])
    assert isinstance(wire.sent()[0], Answer)
    assert wire.call(99) is not None


def test_a_resent_call_is_answered_from_memory() -> None:
    """The same seq again never runs again: it is ignored while in progress, then answered alike."""
    wire = Wire()
    wire.hello()
    call = wire.call(1)
    assert wire.call(1) is None and wire.sent() == []
    wire.finish(call)
    first = wire.sent()
    wire.hello(routing=b"new connection")
    assert wire.call(1, routing=b"new connection") is None
    assert wire.sent() == first
    assert wire.session.repeated == 2


def test_memory_is_bounded_and_forgets_safely() -> None:
    """A seq whose answer was forgotten is stale, never run again, and at least two windows are kept."""
    wire = Wire()
    wire.hello()
    for seq in range(1, 4 * CREDITS + 1):
        wire.finish(wire.call(seq))
    wire.sent()
    for seq in range(1, 4 * CREDITS + 1):
        assert wire.call(seq) is None
        (message,) = wire.sent()
        kept = seq > 2 * CREDITS
        assert isinstance(message, Answer if kept else Refused)
        assert kept or getattr(message, "error", "") == "stale-sequence"


def test_an_answer_follows_its_domain_to_the_new_connection() -> None:
    """Whoever says hello last gets the answer; the old connection speaks for nobody any more."""
    wire = Wire()
    wire.hello(routing=b"old")
    call = wire.call(1, routing=b"old")
    wire.hello(routing=b"new")
    wire.finish(call)
    ((_, routing, *_),) = wire.session.outbox
    assert routing == b"new"
    wire.sent()
    assert wire.call(2, routing=b"old") is None
    assert wire.refusal() == "unknown-peer"


def test_a_lost_connection_loses_no_answer() -> None:
    """An answer that found nobody is told to the same domain when it asks again."""
    wire = Wire()
    wire.hello()
    call = wire.call(1)
    wire.session.peer_lost(GUESTS, b"g", 0)
    wire.finish(call)
    assert wire.sent() == []
    wire.hello(routing=b"new")
    assert wire.call(1, routing=b"new") is None
    assert isinstance(wire.sent()[0], Answer)


def test_a_multicall_hands_out_its_requests_one_by_one() -> None:
    """Entries are given out in order, the next with the reply of the one before; one Answer at the end."""
    wire = Wire()
    wire.hello()
    requests = (Physinfo(), CreateDomain(), Physinfo())
    call = wire.call(1, *requests)
    assert call is not None
    assert wire.session.replied(call, Reply(10, 1, 1)) == requests[1]
    assert wire.session.replied(call, Reply(11, 2, 2)) == requests[2]
    assert wire.sent() == []
    assert wire.session.replied(call, Reply(12, 3, 3)) is None
    (answer,) = wire.sent()
    assert isinstance(answer, Answer) and [reply.ret for reply in answer.replies] == [10, 11, 12]


def test_an_empty_or_too_long_multicall() -> None:
    """No request is answered with no reply; more than MAX_MULTICALL are refused."""
    wire = Wire()
    wire.hello()
    assert wire.say(Call(5, 1, 1, ())) is None
    (answer,) = wire.sent()
    assert isinstance(answer, Answer) and answer.replies == ()
    assert wire.say(Call(5, 1, 2, (Physinfo(),) * (MAX_MULTICALL + 1))) is None
    assert wire.refusal() == "malformed"


def test_a_created_domain_comes_with_its_secret() -> None:
    """createdomain's value carries the secret with which that domain's process says hello."""
    wire = Wire()
    wire.toolstack()
    call = wire.say(Call(0, 99, 1, (CreateDomain(),)), b"t", TOOLSTACKS)
    assert call is not None
    wire.session.replied(call, Reply(0, 1, 1, Created(7, 3)))
    (answer,) = wire.sent()
    assert isinstance(answer, Answer)
    assert answer.replies[0].value == Created(7, 3, domain_secret(KEY, 7, 3))


def test_events_go_to_those_who_asked() -> None:
    """VIRQs reach listeners only, and only the control domain may listen; watches reach their owner."""
    wire = Wire()
    wire.hello()
    wire.toolstack()
    wire.say(Listen(5, 1, (3,)))
    assert wire.refusal() == "not-permitted"
    wire.say(Listen(0, 98, (3,)), b"t", TOOLSTACKS)
    assert wire.refusal() == "stale-incarnation"
    wire.session.emit_virq(3, VirqEvent(3, 7, 1))
    assert wire.sent() == []
    wire.say(Listen(0, 99, (3,)), b"t", TOOLSTACKS)
    wire.session.emit_virq(3, VirqEvent(3, 7, 1))
    wire.session.emit_virq(12, VirqEvent(12, 0, 1))
    wire.session.emit((5, 1), WatchEvent("/a", "token", 4))
    wire.session.emit((5, 2), WatchEvent("/a", "token", 4))
    assert wire.sent() == [
        Notify(0, 99, VirqEvent(3, 7, 1)),
        Notify(5, 1, WatchEvent("/a", "token", 4)),
    ]


def test_the_dead_are_told_and_forgotten() -> None:
    """A domain's unanswered calls end as domain-gone when it dies, and it may not speak again."""
    wire = Wire()
    wire.hello()
    call = wire.call(1, Physinfo(), Physinfo())
    assert call is not None
    wire.alive.discard((5, 1))
    assert wire.call(2) is None
    assert wire.refusal() == "domain-gone"
    wire.session.domains_gone(0, (4, 6))
    assert wire.sent() == [], "others died"
    wire.session.domains_gone(0, (5, 6))
    assert wire.refusal() == "domain-gone"
    assert wire.session.replied(call, Reply(0, 1, 1)) is None, "nothing more of the call begins"
    assert wire.sent() == []
    assert wire.call(3) is None
    assert wire.refusal() == "unknown-peer"


def test_silence_is_noted_and_nothing_else() -> None:
    """A peer silent beyond its lease is noted once, and again when it is heard; it stays bound."""
    wire = Wire()
    wire.hello(now=0)
    wire.session.notes.clear()
    for now in (900, 1000, 1001, 2000):
        wire.session.check_leases(now)
    assert [(note.kind, note.time) for note in wire.session.notes] == [("silent", 1001)]
    wire.say(Ping(7), now=3000)
    assert wire.session.notes[-1].kind == "heard-again"
    assert wire.sent() == [Pong(7)]
    assert wire.call(1) is not None


def test_goodbye_unbinds() -> None:
    """After a goodbye the connection speaks for that domain no more; a stranger cannot say it."""
    wire = Wire()
    wire.hello()
    wire.say(Goodbye(5, 1), b"stranger")
    assert wire.refusal() == "unknown-peer"
    assert wire.call(1) is not None
    wire.say(Goodbye(5, 1))
    assert wire.call(2) is None
    assert wire.refusal() == "unknown-peer"
    wire.say(Ping(1))
    assert wire.refusal() == "unknown-peer"


def test_a_closing_hypervisor_takes_no_new_call() -> None:
    """After close() Calls are refused as shutting-down."""
    wire = Wire()
    wire.hello()
    wire.session.close()
    assert wire.call(1) is None
    assert wire.refusal() == WireError.SHUTTING_DOWN.value


def packed(*content: object) -> bytes:
    """Bytes from the independent codec."""
    return bytes(msgpack.packb(content))


@pytest.mark.parametrize(
    ("frame", "seq"),
    [
        (None, -1),
        (b"", -1),
        (b"\xc1", -1),
        (b"\x91" * 100_000, -1),
        (b"\x81" * 100_000, -1),
        (packed(2, 5, 1, 7, [[9999]]), 7),
        (packed(2, 5, 1, 7, [[(12 << 8) | 6, "five", []]]), 7),
        (packed(2, 5, 1, 7, [[(12 << 8) | 6, 5, [[0, -1]]]]), 7),
        (packed(2, 5, 1, 7, [[(12 << 8) | 24, 5, 1, 0, 0, 0, 0, 0, 0]]), 7),
        (packed(2, 70_000, 1, 7, []), 7),
        (packed(2, 5, 1, -7, []), -7),
        (packed(2, 5, 1), -1),
        (packed(9, 5, 1, 7, []), -1),
        (packed(2, 5, 1, 7, [[0x10000 | 2, b"\xff\xfe"]]), 7),
        (b"\x95\x02\x05\x01\x07\x91\x92\xce\x00\x01\x00\x02\xa2\xff\xfe", 7),
    ],
)
def test_what_cannot_be_read_is_refused_as_malformed(frame: bytes | None, seq: int) -> None:
    """Malformed frames get one refusal naming the Call where it can be told, and are counted."""
    wire = Wire()
    wire.hello()
    assert wire.session.receive(GUESTS, b"g", frame, 0) is None
    (refused,) = wire.sent()
    assert isinstance(refused, Refused)
    assert (refused.error, refused.seq) == ("malformed", seq)
    assert wire.session.refusals["malformed"] == 1


def test_an_oversized_frame_is_refused() -> None:
    """A frame above the limit is refused before it is read."""
    wire = Wire()
    wire.session.receive(GUESTS, b"g", b"\x00" * ((1 << 20) + 1), 0)
    assert wire.refusal() == "oversized"


def test_strangers_leave_no_trace() -> None:
    """Peers that never said a right hello are answered and not remembered."""
    wire = Wire()
    for number in range(1000):
        wire.say(Ping(1), routing=number.to_bytes(5, "big"))
        wire.say(Hello(1, 5, 1, b"guess"), routing=number.to_bytes(5, "big"))
    assert len(wire.sent()) == 2000
    assert wire.session.notes == []
    wire.session.check_leases(10_000)
    assert wire.session.notes == []


def test_who_sends_nothing_but_garbage_is_not_read_for_a_while() -> None:
    """After so many refusals a connection is passed over until the amnesty, and nobody else is."""
    wire = Wire()
    wire.hello()
    for _ in range(MOST_ABUSES):
        assert wire.session.receive(GUESTS, b"noise", b"\xc1", 0) is None
    assert len(wire.sent()) == MOST_ABUSES
    wire.session.receive(GUESTS, b"noise", b"\xc1", 0)
    assert wire.sent() == []
    assert wire.call(1, Physinfo()) is not None
    wire.session.abuse.amnesty()
    wire.session.receive(GUESTS, b"noise", b"\xc1", 0)
    assert wire.refusal() == "malformed"
