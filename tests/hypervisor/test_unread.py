"""A guest that asks for much and reads nothing costs the hypervisor a fixed amount, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq

from hypervisor.journal import NoteRecord
from hypervisor.public.memory import CurrentReservation
from hypervisor.public.protocol import (
    FROM_HYPERVISOR,
    MAX_MESSAGE_BYTES,
    MAX_MULTICALL,
    MAX_UNANSWERED_BYTES,
    PROTOCOL_VERSION,
    Answer,
    Call,
    Hello,
    Refused,
    encode,
)
from hypervisor.public.requests import Reply, Request
from hypervisor.public.xenstore import StoreRead, StoreText, StoreWrite
from hypervisor.session.client import ClientSession
from hypervisor.session.server import ServerSession
from hypervisor.session.speakers import Role, RunningCall, Speaker, domain_secret
from hypervisor.session.unread import LONG
from tests.running_hypervisor import Peer, Running, ToolstackPeer, closing, running_hypervisor

MIB = 1 << 20
KEY = b"a host key of at least 16 bytes"
SECRET = domain_secret(KEY, 5, 1)
CREDITS = 8
TEXT = StoreText("x" * 4000)
READS: tuple[Request, ...] = (StoreRead("/local/domain/5/data/long"),) * 100
"""A multicall whose answer is 400 KB."""


class Guest:
    """A session at which domain 5 has said hello, and may leave a MiB unread."""

    def __init__(self) -> None:
        self.session = ServerSession(
            host_key=KEY,
            control_secret=b"c",
            is_alive=lambda domid, incarnation: (domid, incarnation) == (5, 1),
            release="4.17",
            credits=CREDITS,
            unread_bytes=MIB,
        )
        self.say(Hello(PROTOCOL_VERSION, 5, 1, SECRET))
        self.session.outbox.clear()

    def say(self, message: Hello | Call) -> RunningCall | None:
        return self.session.receive(Role.GUESTS, b"g", encode(message), 0)

    def call(self, seq: int, requests: tuple[Request, ...] = READS) -> RunningCall | None:
        return self.say(Call(5, 1, seq, requests))

    def begun(self, seq: int, requests: tuple[Request, ...] = READS) -> RunningCall:
        running = self.call(seq, requests)
        assert running is not None
        return running

    def finish(self, running: RunningCall) -> None:
        while self.session.replied(running, Reply(0, 1, 1, TEXT)) is not None:
            pass

    def going_on(self) -> list[RunningCall]:
        """What the hypervisor would submit now."""
        found: list[RunningCall] = []
        for one in self.session.waiting.due():
            running = one if isinstance(one, RunningCall) else self.session.receive(*one, 0)
            assert running is not None
            found.append(running)
        return found

    def sent(self) -> list[tuple[bytes, Speaker | None]]:
        outbox, self.session.outbox = self.session.outbox, []
        return [(frame, owner) for *_, frame, owner in outbox]


def test_calls_of_who_does_not_read_wait_until_it_has() -> None:
    """Beyond its budget nothing of a guest begins; what has left makes room, in order of arrival."""
    guest = Guest()
    for seq in (1, 2, 3):
        guest.finish(guest.begun(seq))
    assert [guest.call(seq) for seq in (4, 5)] == [None, None]
    answers = guest.sent()
    assert len(answers) == 3 and guest.going_on() == []
    for frame, owner in answers:
        assert owner is not None
        guest.session.left(owner, len(frame))
    assert [one.seq for one in guest.going_on()] == [4, 5]
    assert not guest.session.waiting and guest.sent() == []


def test_of_multicalls_that_gather_too_much_the_oldest_goes_on() -> None:
    """Several multicalls never hold more than the budget between them and one answer, and all get through."""
    guest = Guest()
    running = [guest.begun(seq) for seq in range(1, 6)]
    moving, held = list(running), 0
    while moving:
        moving = [one for one in moving if guest.session.replied(one, Reply(0, 1, 1, TEXT)) is not None]
        held = max(held, running[0].speaker.gathered)
        moving += guest.going_on()
        for frame, owner in guest.sent():
            assert owner is not None
            guest.session.left(owner, len(frame))
    assert all(len(one.replies) == len(READS) for one in running)
    assert MIB < held < MIB + 500_000
    assert running[0].speaker.unread == running[0].speaker.gathered == 0


def test_not_even_the_oldest_multicall_goes_on_while_answers_lie_unread() -> None:
    """Several under way are not all carried through for a guest that never reads."""
    guest = Guest()
    running = [guest.begun(seq) for seq in range(1, 9)]
    moving = list(running)
    while moving:
        moving = [one for one in moving if guest.session.replied(one, Reply(0, 1, 1, TEXT)) is not None]
        moving += guest.going_on()
    answers = guest.sent()
    assert len(answers) == 3 and running[0].speaker.unread <= MIB + 400_000 + 3000
    for frame, owner in answers:
        assert owner is not None
        guest.session.left(owner, len(frame))
    assert [one.seq for one in guest.going_on()] != []


def test_an_answer_told_again_counts_again() -> None:
    """Asking for the same answer over and over is asking for much."""
    guest = Guest()
    guest.finish(guest.begun(1))
    for _ in range(10):
        assert guest.call(1) is None
    assert len(guest.sent()) == 3, "two of 400 KB fit, the third goes beyond"
    assert guest.session.waiting


def test_long_calls_are_read_one_mib_at_a_time() -> None:
    """Calls under way count by their bytes: the rest waits as it came, beyond 4 MiB it is refused."""
    guest = Guest()
    long = (StoreWrite("/local/domain/5/data/long", "x" * (MAX_MESSAGE_BYTES - 100)),)
    first = guest.begun(1, long)
    assert [guest.call(seq, long) for seq in range(2, CREDITS)] == [None] * (CREDITS - 2)
    refused = [FROM_HYPERVISOR.decode(frame) for frame, _ in guest.sent()]
    assert [one.seq for one in refused if isinstance(one, Refused)] == [6]
    assert guest.session.abuse.muted, "a MiB that was refused weighs as much as 1025 messages"
    guest.session.abuse.amnesty()
    for seq in range(2, 6):
        guest.finish(first)
        (first,) = guest.going_on()
        assert first.seq == seq


def test_a_client_keeps_within_what_may_be_unanswered() -> None:
    """A client sends no more bytes of Calls than the hypervisor takes, and the rest as answers come."""
    guest, client = Guest(), ClientSession()
    client.hello(5, 1, SECRET)
    long = (StoreWrite("/local/domain/5/data/long", "x" * (MAX_MESSAGE_BYTES - 100)),)
    for _ in range(CREDITS):
        client.call(5, 1, long)
    answered, moving = 0, list[RunningCall]()
    while answered < CREDITS:
        frames = client.outgoing()
        assert sum(map(len, frames)) <= MAX_UNANSWERED_BYTES + LONG
        begun = [guest.session.receive(Role.GUESTS, b"g", frame, 0) for frame in frames]
        moving += [one for one in begun if one is not None] + guest.going_on()
        for one in moving:
            guest.session.replied(one, Reply(0, 1, 1))
        moving.clear()
        for frame, _ in guest.sent():
            answered += sum(isinstance(one, Answer) for one in client.receive(frame))


def test_whoever_comes_back_over_another_connection_sends_its_calls_again() -> None:
    """Calls that had not begun are forgotten with the connection they came by."""
    guest = Guest()
    for seq in (1, 2, 3):
        guest.finish(guest.begun(seq))
    assert guest.call(4) is None and guest.session.waiting
    guest.session.receive(Role.GUESTS, b"new", encode(Hello(PROTOCOL_VERSION, 5, 1, SECRET)), 0)
    for frame, owner in guest.sent():
        if owner is not None:
            guest.session.left(owner, len(frame))
    assert guest.going_on() == []
    again = guest.session.receive(Role.GUESTS, b"new", encode(Call(5, 1, 4, READS)), 0)
    assert again is not None


def peak_mib(pid: int) -> float:
    """The most memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    pytest.skip("the system tells no VmHWM")


def hellos(running: Running, domid: int) -> int:
    """How many times a domain has said hello, by the journal."""
    notes = (one for one in running.journal() if isinstance(one, NoteRecord) and one.kind == "hello")
    return sum(note.fields["domid"] == domid for note in notes)


def steps(running: Running, domid: int) -> int:
    """Steps that a domain has done."""
    return sum(one.caller[0] == domid for one in running.journal().steps())


@pytest.mark.timeout(120)
def test_a_hostile_guest_that_reads_nothing_costs_its_budget_and_gets_everything_later() -> None:
    """64 multicalls for 256 MiB of answers cost some tens; a toolstack is answered; then all answers come."""
    context = zmq.Context()
    with running_hypervisor(mib=8, unread_bytes=4 * MIB) as running, closing(ToolstackPeer(running)) as other:
        guest = other.build(64)
        path = f"/local/domain/{guest.domid}/data/long"
        other.control(StoreWrite(path, "x" * 4000))
        before = peak_mib(running.pid)
        deaf = context.socket(zmq.DEALER)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.setsockopt(zmq.RCVBUF, 4096)
        deaf.connect(running.endpoints["guests"])
        hello = encode(Hello(PROTOCOL_VERSION, guest.domid, guest.incarnation, guest.secret))
        deaf.send(hello)
        for seq in range(1, 65):
            calls = (StoreRead(path),) * MAX_MULTICALL
            deaf.send(encode(Call(guest.domid, guest.incarnation, seq, calls)))
        deaf.send(hello)
        while hellos(running, guest.domid) < 2:  # so all that came before has been taken in
            assert other.control(CurrentReservation(guest.domid)).ret == 64
        before_last, last = -1, steps(running, guest.domid)
        while last > before_last:  # in each round it takes the steps that it can
            for _ in range(50):
                assert other.control(CurrentReservation(guest.domid)).ret == 64
            before_last, last = last, steps(running, guest.domid)
        assert last < 16 * MAX_MULTICALL, "most of what it asked for has not been done"
        assert peak_mib(running.pid) - before < 64
        answered: set[int] = set()
        while len(answered) < 64:
            message = FROM_HYPERVISOR.decode(deaf.recv())
            assert not isinstance(message, Refused)
            if isinstance(message, Answer):
                assert len(message.replies) == MAX_MULTICALL
                answered.add(message.seq)
        context.destroy(linger=0)
        assert running.stop()["dropped"] == 0


def test_an_answer_longer_than_any_request_reaches_its_client() -> None:
    """A multicall's answer of more than a MiB is taken in, not taken for an attack."""
    with running_hypervisor(mib=8) as running, closing(ToolstackPeer(running)) as toolstack:
        created = toolstack.build(64)
        path = f"/local/domain/{created.domid}/data/long"
        toolstack.control(StoreWrite(path, "x" * 4000))
        with closing(Peer(running.endpoints["guests"])) as guest:
            guest.hello(created.domid, created.incarnation, created.secret)
            seq = guest.call(created.domid, created.incarnation, *(StoreRead(path),) * 300)
            answer = guest.outcome(created.domid, created.incarnation, seq)
            assert isinstance(answer, Answer) and len(encode(answer)) > MAX_MESSAGE_BYTES
