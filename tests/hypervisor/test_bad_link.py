"""Bad links and sending again, without I/O."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hypervisor.public.memory import MaximumRamPage
from hypervisor.public.protocol import Answer, Call, Hello, Pong, Refused, Welcome, encode
from hypervisor.session.bad_link import BadLink, BadLinkSpec, is_answer, is_call
from hypervisor.session.client import ClientSession, Indefinite
from hypervisor.session.resends import MOST, Resends

TIMES = [index * 0.01 for index in range(1000)]


def fates(direction: str = "there", **keys: float) -> list[tuple[float, ...]]:
    """What became of a thousand messages, one every 10 ms."""
    link = BadLink(BadLinkSpec("seed", **keys), direction)
    return [link.fates(now) for now in TIMES]


def test_fates_follow_from_seed_and_direction() -> None:
    """The same link does the same to the same messages; its other direction does something else."""
    keys = {"loss": 0.2, "duplicate": 0.2, "reorder": 0.2, "jitter": 0.01}
    assert fates(**keys) == fates(**keys) != fates("back", **keys)


def test_shares_are_kept() -> None:
    """Of a thousand messages about the given share is lost, doubled, overtaken."""
    lost = sum(not one for one in fates(loss=0.2))
    doubled = sum(len(one) == 2 for one in fates(duplicate=0.3))
    assert 150 < lost < 250 and 250 < doubled < 350
    arrivals = [one[0] for one in fates(delay=0.02, reorder=0.1)]
    overtaken = sum(later < earlier for earlier, later in pairwise(arrivals))
    assert 50 < overtaken < 150


def test_jitter_keeps_the_order() -> None:
    """Without `reorder` nothing is overtaken, however uneven the delays; none comes before its delay."""
    arrivals = [one[0] for one in fates(delay=0.005, jitter=0.1)]
    assert arrivals == sorted(arrivals)
    assert all(when >= now + 0.005 for now, when in zip(TIMES, arrivals, strict=True))


def test_only_calls_and_their_answers_suffer() -> None:
    """Hellos, welcomes and pongs are told from Calls, Answers and refusals by their tag."""
    assert is_call(encode(Call(1, 1, 1, (MaximumRamPage(),))))
    assert not is_call(encode(Hello(1, 1, 1, b"", "")))
    assert is_answer(encode(Answer(1, 1, 1, ()))) and is_answer(encode(Refused(1, 1, 1, "x", "")))
    assert not is_answer(encode(Welcome(1, 1, "4.17", 8, 0))) and not is_answer(encode(Pong(1)))


def client() -> ClientSession:
    """One domain, welcome, with nothing left to send."""
    session = ClientSession()
    session.hello(1, 1, b"")
    session.receive(encode(Welcome(1, 1, "4.17", 1, 0)))
    session.outgoing()
    return session


@pytest.mark.rule("I12")
def test_an_unanswered_call_is_sent_again_under_its_seq() -> None:
    """The same bytes leave again after the patience, then after twice as long; an answer ends it."""
    session = client()
    resends = Resends(session, 1.0)
    seq = session.call(1, 1, (MaximumRamPage(),))
    first = session.outgoing()
    sent: list[float] = []
    for tenth in range(80):
        assert resends.look(tenth / 10) == []
        again = session.outgoing()
        if again:
            assert again == first
            sent.append(tenth / 10)
    assert sent == [1.0, 3.0, 7.0]
    session.receive(encode(Answer(1, 1, seq, ())))
    assert resends.look(100.0) == [] and session.outgoing() == [] and resends.next_look() is None


def test_at_last_a_call_is_indefinite() -> None:
    """After its last copy the party is told that nobody knows; the next Call gets the credit."""
    session = client()
    resends = Resends(session, 1.0)
    seq = session.call(1, 1, (MaximumRamPage(),))
    following = session.call(1, 1, (MaximumRamPage(),))
    session.outgoing()
    given_up: list[Indefinite] = []
    copies = 0
    now = 0.0
    while not given_up:
        given_up = resends.look(now)
        copies += len(session.outgoing()) if not given_up else 0
        now += 0.5
    assert [one.seq for one in given_up] == [seq] and copies == MOST
    assert session.unanswered() == [(1, 1, following)] and len(session.outgoing()) == 1
    assert session.receive(encode(Answer(1, 1, seq, ()))) == ()
