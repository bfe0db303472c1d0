"""Clients that never read, never stop writing or stop in mid-message hurt nobody but themselves."""

from __future__ import annotations

import socket
from itertools import count, islice
from pathlib import Path

import pytest
import zmq

from benchmarks.hostile import HALF_MESSAGES, cut_off, half_a_message
from benchmarks.overload import Outcome, Sample, overload
from hypervisor.journal import NoteRecord
from hypervisor.public.memory import CurrentReservation
from hypervisor.public.protocol import PROTOCOL_VERSION, Call, Hello, encode
from hypervisor.public.xenstore import StoreRead, StoreWrite
from hypervisor.session.speakers import REMEMBERED_BYTES, Speaker
from hypervisor.transport import DRAIN_EACH, LEAVING_HIGH_WATER_MARK, Client, Server, ipc_endpoints
from tests.running_hypervisor import PATIENCE_MS, ToolstackPeer, closing, running_hypervisor

PAGES = 64


def test_one_peers_thousand_messages_leave_room_for_anothers_one(tmp_path: Path) -> None:
    """Whoever has one message to say is heard within one drain, however many others have."""
    server, client = Server(ipc_endpoints(tmp_path / "s", ("guests",))), Client()
    try:
        talker, other = (client.connect(server.endpoints["guests"]) for _ in range(2))
        talker.send([b"talk"] * 1000)
        heard: list[bytes | None] = []
        taken = 0
        while b"word" not in heard:
            assert server.wait(PATIENCE_MS)
            heard = [frame for _, frame in server.drain("guests")]
            assert len(heard) <= DRAIN_EACH
            if heard and not taken:
                other.send([b"word"])
            taken += len(heard)
            talker.send([b"talk"] * len(heard))  # it always has a thousand more to say
            assert taken < 1_000_000, "what comes over a connection that never falls silent keeps others out"
    finally:
        client.close()
        server.close()


def test_who_never_reads_is_given_up_and_others_are_answered() -> None:
    """Its answers pile up to the high-water mark and no further; a toolstack has its answer meanwhile."""
    context = zmq.Context()
    with running_hypervisor(mib=8) as running, closing(ToolstackPeer(running)) as toolstack:
        guest = toolstack.build(PAGES)
        path = f"/local/domain/{guest.domid}/data/long"
        toolstack.control(StoreWrite(path, "x" * 4000))
        deaf = context.socket(zmq.DEALER)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.setsockopt(zmq.RCVBUF, 4096)
        deaf.connect(running.endpoints["guests"])
        hello = Hello(PROTOCOL_VERSION, guest.domid, guest.incarnation, guest.secret)
        seqs = count(1)
        while not any(isinstance(one, NoteRecord) and one.kind == "dropped" for one in running.journal()):
            deaf.send(encode(hello))
            for seq in islice(seqs, 2 * LEAVING_HIGH_WATER_MARK):
                deaf.send(encode(Call(guest.domid, guest.incarnation, seq, (StoreRead(path),))))
            assert toolstack.control(CurrentReservation(guest.domid)).ret == PAGES
        context.destroy(linger=0)
        stats = running.stop()
    assert stats["dropped"] > 0


def test_nobody_waits_for_who_stops_in_the_middle_of_a_message() -> None:
    """With half messages of a MiB open, a guest is built and answered, and the hypervisor ends as ever."""
    with running_hypervisor(mib=8) as running, closing(ToolstackPeer(running)) as toolstack:
        path = running.endpoints["guests"].removeprefix("ipc://")
        held: list[socket.socket] = [half_a_message(path) for _ in range(HALF_MESSAGES)]
        guest = toolstack.build(PAGES)
        assert toolstack.control(CurrentReservation(guest.domid)).ret == PAGES
        running.stop()
        for one in held:
            while not cut_off(one):
                pass
            one.close()


def test_answers_are_remembered_by_their_bytes_too() -> None:
    """A guest's long answers are forgotten sooner; a toolstack's are not."""
    answer = bytes(REMEMBERED_BYTES // 4)
    guest, toolstack = Speaker((5, 1), ""), Speaker((0, 1), "")
    for seq in range(20):
        for speaker in (guest, toolstack):
            speaker.remember(seq, answer, 10)
    assert list(guest.remembered) == [16, 17, 18, 19] and guest.floor == 15
    assert guest.held == sum(map(len, guest.remembered.values())) <= REMEMBERED_BYTES
    assert len(toolstack.remembered) == 10


def test_the_overload_run_measures_what_it_says() -> None:
    """Honest clients are answered alone, beside the hostile, and at the same hypervisor as they."""
    outcome = overload(0.2, piece=0.2)
    assert min(outcome.alone, outcome.elsewhere, outcome.beside) > 0
    assert outcome.samples and all(one.mib > 1 for one in outcome.samples)


@pytest.mark.parametrize(
    ("rate", "mib", "word"), [(60, 100, "holds"), (40, 100, "DOES NOT HOLD"), (60, 300, "DOES NOT HOLD")]
)
def test_the_verdict_falls_with_the_rate_and_with_memory(rate: float, mib: float, word: str) -> None:
    """Half of the rate is the least, and memory that grows on after it should have settled is too much."""
    samples = [Sample(0, 90, rate), *(Sample(second, 90, rate) for second in range(8)), Sample(9, mib, rate)]
    outcome = Outcome(200, 100, samples)
    assert outcome.verdict().startswith(f"{word}: honest")
    assert outcome.holds == (word == "holds")
