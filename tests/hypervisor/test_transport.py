"""Frames cross real sockets; a full, dead or hostile peer never stops the server."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from hypervisor.public.protocol import MAX_MESSAGE_BYTES
from hypervisor.transport import (
    HIGH_WATER_MARK,
    Client,
    Dealer,
    EndpointError,
    Sent,
    Server,
    ipc_endpoints,
    tcp_endpoints,
)
from tests.running_hypervisor import PATIENCE, PATIENCE_MS, context

ROLES = ("guests", "toolstacks")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(ipc_endpoints(tmp_path / "s", ROLES))
    yield server
    server.close()


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


def arrivals(server: Server, number: int, role: str = "guests") -> list[tuple[bytes, bytes | None]]:
    """Wait until that many messages have arrived."""
    arrived: list[tuple[bytes, bytes | None]] = []
    while len(arrived) < number:
        assert server.wait(PATIENCE_MS), f"{len(arrived)} of {number} arrived"
        arrived += server.drain(role)
    return arrived


def received(client: Client, dealer: Dealer, number: int) -> list[bytes]:
    frames: list[bytes] = []
    while len(frames) < number:
        assert client.wait(PATIENCE_MS), f"{len(frames)} of {number} received"
        frames += dealer.receive()
    return frames


@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_frames_go_there_and_back(kind: str, tmp_path: Path, client: Client) -> None:
    """Frames keep their order both ways, per role, over ipc and over tcp on a free port."""
    endpoints = (
        ipc_endpoints(tmp_path / "s", ROLES) if kind == "ipc" else tcp_endpoints({r: 0 for r in ROLES})
    )
    server = Server(endpoints)
    try:
        for role in ROLES:
            dealer = client.connect(server.endpoints[role])
            frames = [b"%d" % number for number in range(1000)]
            dealer.send(frames)
            arrived = arrivals(server, 1000, role)
            assert [frame for _, frame in arrived] == frames
            for routing, frame in arrived:
                assert frame is not None and server.send(role, routing, frame) is Sent.SENT
            assert received(client, dealer, 1000) == frames
    finally:
        server.close()


def test_a_message_of_several_frames_is_told_apart(server: Server) -> None:
    """Further frames of a message are swallowed: none can pose as somebody else's routing id."""
    context = zmq.Context()
    attacker = context.socket(zmq.DEALER)
    attacker.connect(server.endpoints["guests"])
    attacker.send(b"first")
    ((routing, _),) = arrivals(server, 1)
    attacker.send_multipart([b"one", routing, b"forged", b"", b"more"])
    attacker.send(b"last")
    assert arrivals(server, 2) == [(routing, None), (routing, b"last")]
    context.destroy(linger=0)


def test_a_peer_that_takes_nothing_in_is_dropped_not_waited_for(tmp_path: Path) -> None:
    """A full peer costs its own frames only: the send returns at once and says so."""
    server = Server(ipc_endpoints(tmp_path / "s", ROLES))
    context = zmq.Context()
    sleeper = context.socket(zmq.DEALER)
    sleeper.setsockopt(zmq.RCVHWM, 1)
    sleeper.setsockopt(zmq.RCVBUF, 4096)
    sleeper.connect(server.endpoints["guests"])
    sleeper.send(b"hello")
    ((routing, _),) = arrivals(server, 1)
    outcomes = [server.send("guests", routing, b"x" * 4096) for _ in range(2 * HIGH_WATER_MARK)]
    assert set(outcomes) == {Sent.SENT, Sent.DROPPED}
    context.destroy(linger=0)
    server.close()


def test_a_peer_that_goes_with_its_queue_full_ends_nobody(tmp_path: Path, client: Client) -> None:
    """A server that looks at nothing meanwhile goes on (heartbeats make libzmq abort), with all that came."""
    here, there = context.Pipe()
    process = context.Process(target=look_late, args=(there, tmp_path / "s"))
    process.start()
    try:
        dealer = client.connect(here.recv())
        dealer.send([b"x" * 200] * 2 * HIGH_WATER_MARK)
        while not dealer.is_blocked():
            dealer.send([b"x" * 200])
        assert here.recv()
        dealer.close()
        here.send("gone")
        process.join(PATIENCE)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()


def look_late(pipe: Any, directory: Path) -> None:
    """A process with a server that is not looked at for longer than a heartbeat takes."""
    server = Server(ipc_endpoints(directory, ("guests",)))
    pipe.send(server.endpoints["guests"])
    assert server.wait(PATIENCE_MS)
    pipe.send(True)
    pipe.recv()
    time.sleep(1.2)
    assert server.drain("guests")
    server.close()


def test_a_vanished_peer_is_told(server: Server, client: Client) -> None:
    """After a peer has gone, sends to it answer GONE."""
    dealer = client.connect(server.endpoints["guests"])
    dealer.send([b"hello"])
    ((routing, _),) = arrivals(server, 1)
    dealer.close()
    other = client.connect(server.endpoints["guests"])
    while server.send("guests", routing, b"x") is not Sent.GONE:
        other.send([b"tick"])  # something to wait for, instead of the clock
        arrivals(server, 1)
    assert server.send("guests", b"\x00nobody", b"x") is Sent.GONE


def test_an_oversized_frame_ends_its_senders_connection_only(server: Server, client: Client) -> None:
    """More than MAXMSGSIZE never reaches the server; others are not disturbed."""
    big, good = client.connect(server.endpoints["guests"]), client.connect(server.endpoints["guests"])
    big.send([b"x" * (MAX_MESSAGE_BYTES + 1)])
    good.send([b"y" * MAX_MESSAGE_BYTES])
    ((_, frame),) = arrivals(server, 1)
    assert frame == b"y" * MAX_MESSAGE_BYTES


def test_what_arrives_while_others_are_sent_to_is_not_overlooked(server: Server, client: Client) -> None:
    """A send empties the mailbox that the descriptor stands for: the server asks the socket itself."""
    one, other = client.connect(server.endpoints["guests"]), client.connect(server.endpoints["guests"])
    other.send([b"hello"])
    ((routing, _),) = arrivals(server, 1)
    descriptor = server.descriptor("guests")
    for number in range(20):
        while server.wait(0):  # what wakes it need not be a message
            assert not server.drain("guests"), "nothing is left behind"
        one.send([b"%d" % number])
        while not select.select([descriptor], (), (), 0)[0]:
            pass  # until it has come
        while select.select([descriptor], (), (), 0)[0]:
            server.send("guests", routing, b"x")
        assert [frame for _, frame in arrivals(server, 1)] == [b"%d" % number]


def test_a_wait_ends_between_two_milliseconds(server: Server, client: Client) -> None:
    """A client can wait for 0.3 ms: not for 0, nor for 1, and it hears what arrives."""
    dealer = client.connect(server.endpoints["guests"])
    dealer.send([b"hello"])
    ((routing, _),) = arrivals(server, 1)
    slept: list[float] = []
    for _ in range(5000):  # until the machine is quick enough once, and nothing else wakes us
        begun = time.monotonic()
        assert not client.wait(0.3)
        waited = time.monotonic()
        if 0.0003 <= waited - begun < 0.001:
            break
        time.sleep(0.0003)
        slept.append(time.monotonic() - waited)
    else:
        assert min(slept) >= 0.001, "this machine can wait for less than a millisecond"
    server.send("guests", routing, b"word")
    while not client.wait(0.9):
        pass
    assert dealer.receive() == [b"word"]


def test_a_reconnected_dealer_is_a_new_peer(server: Server, client: Client) -> None:
    """After reconnect() the same client arrives under another routing id."""
    dealer = client.connect(server.endpoints["guests"])
    dealer.send([b"one"])
    first = arrivals(server, 1)[0][0]
    dealer.reconnect()
    dealer.send([b"two"])
    assert arrivals(server, 1)[0] != (first, b"two")


def test_a_drain_is_capped(server: Server, client: Client) -> None:
    """drain() gives at most its limit, the rest stays for the next round."""
    dealer = client.connect(server.endpoints["guests"])
    dealer.send([b"x"] * 20)
    arrived = 0
    while arrived < 20:
        server.wait(PATIENCE_MS)
        batch = len(server.drain("guests", 7))
        assert batch <= 7
        arrived += batch
    assert arrived == 20


def test_a_socket_in_use_is_refused(tmp_path: Path) -> None:
    """A second server on the same sockets is refused with the cure, and the first one keeps them."""
    endpoints = ipc_endpoints(tmp_path / "s", ROLES)
    first = Server(endpoints)
    with pytest.raises(EndpointError, match="in use: stop the process"):
        Server(endpoints)
    tcp = Server(tcp_endpoints({"guests": 0}))
    with pytest.raises(EndpointError, match="choose another port"):
        Server({"guests": tcp.endpoints["guests"]})
    client = Client()
    dealer = client.connect(first.endpoints["guests"])
    dealer.send([b"still here"])
    assert arrivals(first, 1)[0][1] == b"still here"
    for one in (first, tcp, client):
        one.close()
    Server(endpoints).close()


def test_the_directory_is_private(tmp_path: Path) -> None:
    """The sockets' directory is made with mode 0700; one that others may enter is refused."""
    ipc_endpoints(tmp_path / "mine", ROLES)
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(EndpointError, match="chmod 700"):
        ipc_endpoints(tmp_path / "open", ROLES)
    (tmp_path / "file").write_text("")
    with pytest.raises(EndpointError, match="choose another directory"):
        ipc_endpoints(tmp_path / "file", ROLES)


def test_a_path_too_long_is_refused(tmp_path: Path) -> None:
    """A path that no Unix socket can have is refused with its length and the cure."""
    with pytest.raises(EndpointError, match=r"at most 107: choose a shorter directory or use tcp"):
        ipc_endpoints(tmp_path / ("x" * 100), ROLES)


@pytest.mark.parametrize("endpoint", ["nonsense", "tcp://127.0.0.1:notaport", "ftp://x"])
def test_an_address_that_is_none_is_refused(endpoint: str, client: Client) -> None:
    """Neither side takes an address that is none, and says what one looks like."""
    with pytest.raises(EndpointError, match="give ipc://PATH or tcp://HOST:PORT"):
        client.connect(endpoint)
    with pytest.raises(EndpointError, match="cannot bind"):
        Server({"guests": endpoint})


def test_closing_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    """A closed server and client give back every descriptor they opened."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        server = Server(ipc_endpoints(tmp_path / "s", ROLES))
        client = Client()
        client.connect(server.endpoints["guests"])
        client.close()
        server.close()
    assert len(os.listdir("/proc/self/fd")) <= before
