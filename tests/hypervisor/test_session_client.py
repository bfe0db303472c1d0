"""The client's half of the exchange: the credit window, resending after a reconnect, definite or not."""

from __future__ import annotations

import pytest

from hypervisor.public.domctl import MaxMem, Physinfo
from hypervisor.public.errors import WireError
from hypervisor.public.protocol import (
    MAX_MULTICALL,
    TO_HYPERVISOR,
    Answer,
    Call,
    Hello,
    Listen,
    Ping,
    Refused,
    ToHypervisor,
    Welcome,
    encode,
)
from hypervisor.public.requests import Reply
from hypervisor.public.world import RefusedByWireError
from hypervisor.public.xenstore import StoreWrite
from hypervisor.session.client import MAX_HELLOS, ClientSession, HelloRefused, Indefinite
from hypervisor.session.server import ServerSession
from hypervisor.session.speakers import Role

WELCOME = encode(Welcome(5, 1, "4.17", 2, 2000))


def sent(session: ClientSession) -> list[ToHypervisor]:
    return [TO_HYPERVISOR.decode(frame) for frame in session.outgoing()]


def seqs(session: ClientSession) -> list[int]:
    return [message.seq for message in sent(session) if isinstance(message, Call)]


def answer(seq: int) -> bytes:
    return encode(Answer(5, 1, seq, (Reply(0, seq, seq),)))


def refusal(seq: int, error: WireError) -> bytes:
    return encode(Refused(5, 1, seq, error.value, "why"))


def greeted() -> ClientSession:
    """A session welcomed with two credits."""
    session = ClientSession()
    session.hello(5, 1, b"secret", "guest")
    assert isinstance(sent(session)[0], Hello)
    session.receive(WELCOME)
    return session


def test_calls_wait_for_the_welcome_and_then_for_credit() -> None:
    """No more Calls are unanswered than there are credits; the rest leave in order as answers come."""
    session = ClientSession()
    session.hello(5, 1, b"secret")
    assert [session.call(5, 1, (Physinfo(),)) for _ in range(4)] == [1, 2, 3, 4]
    assert seqs(session) == []
    session.receive(WELCOME)
    assert seqs(session) == [1, 2]
    assert session.receive(answer(2)) and seqs(session) == [3]
    assert session.receive(answer(1)) and seqs(session) == [4]
    assert session.in_flight() == 2


def test_no_call_is_so_far_ahead_that_a_lost_one_could_not_be_asked_for_again() -> None:
    """One that is lost keeps those back whose answers would make the hypervisor forget it; then all go on."""
    session = greeted()
    for _ in range(9):
        session.call(5, 1, (Physinfo(),))
    assert seqs(session) == [1, 2]
    for seq in (2, 3, 4):  # 1 is lost
        session.receive(answer(seq))
    assert seqs(session) == [3, 4]
    session.resend((5, 1, 1))
    assert seqs(session) == [1]
    session.receive(answer(1))
    assert seqs(session) == [5, 6]
    session.receive(answer(5))
    session.receive(answer(6))
    assert seqs(session) == [7, 8]


def test_the_oldest_call_is_never_too_old_for_the_hypervisor() -> None:
    """However long a Call is lost while others go on, its first copy that arrives is run."""
    server = ServerSession(
        host_key=b"key", control_secret=b"secret", is_alive=lambda *_: True, release="4.17", credits=2
    )
    session = ClientSession()
    session.hello(0, 1, b"secret")
    answered = 0

    def exchange(lost: int) -> None:
        nonlocal answered
        for frame in session.outgoing():
            message = TO_HYPERVISOR.decode(frame)
            if isinstance(message, Call) and message.seq == lost:
                continue
            running = server.receive(Role.TOOLSTACKS, b"peer", frame, 0)
            if running is not None:
                server.replied(running, Reply(0, 1, 1))
        for *_, frame, _ in server.outbox:
            answered += sum(isinstance(one, Answer) for one in session.receive(frame))
        server.outbox.clear()

    for _ in range(20):
        session.call(0, 1, (Physinfo(),))
    for _ in range(20):
        exchange(lost=3)
    session.resend((0, 1, 3))
    for _ in range(20):
        exchange(lost=0)
    assert answered == 20
    assert not any(server.refusals.values())


def test_a_second_answer_means_nothing() -> None:
    """An answer that comes twice, or to nobody's Call, is not told to anyone."""
    session = greeted()
    session.call(5, 1, (Physinfo(),))
    assert len(session.receive(answer(1))) == 1
    assert not session.receive(answer(1))
    assert not session.receive(answer(77))
    assert not session.receive(encode(Answer(6, 1, 1, ())))


def test_a_reconnect_says_hello_and_sends_the_unanswered_again() -> None:
    """After a reconnect the hello, the Listen and every unanswered Call leave again, same seq."""
    session = greeted()
    for _ in range(3):
        session.call(5, 1, (Physinfo(),))
    session.listen(5, 1, (3,))
    session.receive(answer(1))
    session.outgoing()
    session.reconnected()
    again = sent(session)
    assert [type(one) for one in again] == [Hello, Listen, Call, Call]
    assert [one.seq for one in again if isinstance(one, Call)] == [2, 3]
    assert session.call(5, 1, (Physinfo(),)) == 4
    assert seqs(session) == [], "no new Call before the new Welcome"


@pytest.mark.parametrize("error", [WireError.STALE_SEQUENCE, WireError.SHUTTING_DOWN, WireError.DOMAIN_GONE])
def test_a_refusal_is_definite_unless_the_call_was_sent_before(error: WireError) -> None:
    """A refused Call had no effect; one sent again after a reconnect may have had, the first time."""
    session = greeted()
    session.call(5, 1, (Physinfo(),))
    session.call(5, 1, (Physinfo(),))
    assert isinstance(session.receive(refusal(1, error))[0], Refused)
    session.reconnected()
    session.receive(WELCOME)
    outcome = session.receive(refusal(2, error))[0]
    assert isinstance(outcome, Indefinite) and outcome.seq == 2


def test_an_unknown_peer_says_hello_again_by_itself() -> None:
    """A wire that broke and mended unseen costs a hello, not an operation, but not for ever."""
    session = greeted()
    session.call(5, 1, (Physinfo(),))
    session.call(5, 1, (Physinfo(),))
    session.outgoing()
    for _ in range(MAX_HELLOS - 1):
        assert not session.receive(refusal(1, WireError.UNKNOWN_PEER))
        assert not session.receive(refusal(2, WireError.UNKNOWN_PEER))
        assert [type(one) for one in sent(session)] == [Hello, Call, Call]
        session.receive(WELCOME)
    assert isinstance(session.receive(refusal(1, WireError.UNKNOWN_PEER))[0], Indefinite)


def test_a_refused_ping_says_hello_again() -> None:
    """Also an idle client learns from its ping that the hypervisor does not know it any more."""
    session = greeted()
    session.ping()
    assert isinstance(sent(session)[0], Ping)
    session.receive(encode(Refused(-1, -1, -1, WireError.UNKNOWN_PEER.value, "who?")))
    assert [type(one) for one in sent(session)] == [Hello]


def test_a_hello_that_is_lost_is_said_again() -> None:
    """A wire that breaks before the Welcome takes the hello along: the second refused ping tells."""
    session = ClientSession()
    session.hello(5, 1, b"secret")
    session.call(5, 1, (Physinfo(),))
    refused = encode(Refused(-1, -1, -1, WireError.UNKNOWN_PEER.value, "who?"))
    for _ in range(2 * MAX_HELLOS):
        assert [type(one) for one in sent(session)] == [Hello]
        session.receive(refused)
        assert not session.has_outgoing(), "that ping may have left before the hello"
        session.receive(refused)
    session.outgoing()
    session.receive(WELCOME)
    assert seqs(session) == [1], "and nothing is lost by it"


@pytest.mark.parametrize(("refused", "kinds"), [((1, 2), [Refused, Refused]), ((1,), [Refused, Indefinite])])
def test_what_a_dead_domain_still_called_did_nothing(refused: tuple[int, ...], kinds: list[type]) -> None:
    """Calls that met nobody are refused as the hello is; one that may have met its domain is indefinite."""
    session = greeted()
    for _ in range(2):
        session.call(5, 1, (Physinfo(),))
    session.outgoing()
    for seq in refused:
        assert not session.receive(refusal(seq, WireError.UNKNOWN_PEER))
    assert [type(one) for one in sent(session)] == [Hello, Call, Call]
    first, *others = session.receive(refusal(-1, WireError.STALE_INCARNATION))
    assert isinstance(first, HelloRefused)
    assert [type(one) for one in others] == kinds
    assert getattr(others[0], "error", "") == "stale-incarnation"


def test_a_refused_hello_refuses_what_waits() -> None:
    """Calls that waited for the Welcome are refused in the hello's words."""
    session = ClientSession()
    session.hello(5, 1, b"wrong")
    session.call(5, 1, (Physinfo(),))
    happened = session.receive(refusal(-1, WireError.BAD_SECRET))
    assert happened == [
        HelloRefused(5, 1, "bad-secret", "why"),
        Refused(5, 1, 1, "bad-secret", "why"),
    ]
    with pytest.raises(RefusedByWireError, match="no hello was said"):
        session.call(5, 1, (Physinfo(),))


def test_giving_up_tells_sent_from_unsent() -> None:
    """What was sent is indefinite; what still waited for credit was definitely never sent."""
    session = greeted()
    for _ in range(3):
        session.call(5, 1, (Physinfo(),))
    kinds = [(type(one), getattr(one, "seq", 0)) for one in session.lost("gone")]
    assert kinds == [(Indefinite, 1), (Indefinite, 2), (Refused, 3)]
    assert session.in_flight() == 0 and not session.has_outgoing()


def test_what_no_hypervisor_would_take_is_refused_at_once() -> None:
    """A Call that is too long or cannot be written never leaves, and costs no seq."""
    session = greeted()
    with pytest.raises(RefusedByWireError, match="malformed"):
        session.call(5, 1, (Physinfo(),) * (MAX_MULTICALL + 1))
    with pytest.raises(RefusedByWireError, match="oversized"):
        session.call(5, 1, (StoreWrite("/a", "x" * 2_000_000),))
    with pytest.raises(RefusedByWireError, match="malformed"):
        session.call(5, 1, (MaxMem(5, 1 << 70),))
    assert session.call(5, 1, (Physinfo(),)) == 1


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x91" * 5000, b"\x93\x02", encode(Hello(1, 2, 3, b""))])
def test_garbage_from_the_hypervisor_is_counted(frame: bytes) -> None:
    """A frame that cannot be read is counted and ignored."""
    session = greeted()
    assert not session.receive(frame)
    assert session.bad_frames == 1
