"""Frames over ZeroMQ: the one file that knows of it. Neither side ever blocks in a send.

Every message is one frame. A server binds one ROUTER per role; a client connects a DEALER to one of
them. Routing ids are libzmq's own, so a reborn peer is a new peer and no reply reaches a ghost.
"""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

import zmq

from hypervisor.ipc_lock import hold_ipc, lock_file
from hypervisor.public.protocol import MAX_MESSAGE_BYTES

BACKLOG: Final = 4096
"""Connections waiting to be accepted: all guests of a run start at once."""
HIGH_WATER_MARK: Final = 16_384
"""Messages that a client queues: above the credits of all the domains that one connection carries."""
ARRIVED_HIGH_WATER_MARK: Final = 128
"""Messages of one peer that wait to be looked at. The rest stays on its side."""
LEAVING_HIGH_WATER_MARK: Final = 1024
"""Messages that wait for one peer to take them in: what a dozen domains ask for with all their credits. A
peer that is given up asks anew for what it misses."""
UNATTENDED_HIGH_WATER_MARK: Final = 16
"""Messages that wait, of one peer, at a socket that is looked at only now and then."""
MAX_IPC_PATH: Final = 107
"""sockaddr_un holds 108 bytes, the last one zero."""
DRAIN: Final = 256
"""Most messages taken from one socket in a row, so that the other one gets its turn."""
DRAIN_EACH: Final = 16
"""Messages after which one peer has had its share of them, where it shares with nobody. A ROUTER takes from
its peers in turn: whoever comes again, while others came once, has more to say than they."""

# Plain ints for flags: pyzmq is faster with them than with its enums. Options it turns
# into its enum every time.
_NOBLOCK: Final = int(zmq.NOBLOCK)
_SNDMORE: Final = int(zmq.SNDMORE) | int(zmq.NOBLOCK)
_RCVMORE: Final = zmq.RCVMORE
_EVENTS: Final = zmq.EVENTS
_POLLIN: Final = int(zmq.POLLIN)


class EndpointError(Exception):
    """An endpoint cannot be used; the text says what to do about it."""


class Sent(Enum):
    """What became of a frame."""

    SENT = "sent"
    DROPPED = "dropped"  # the peer takes nothing in and its queue is full
    GONE = "gone"  # no such peer any more


def ipc_endpoints(directory: Path, roles: Iterable[str]) -> dict[str, str]:
    """ipc endpoints in a directory of our own with mode 0700, made if absent.

    Raises `EndpointError` when the path is too long, or others may enter the directory.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EndpointError(f"{directory}: {error.strerror}; choose another directory") from error
    status = directory.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise EndpointError(f"{directory} is open to others: chmod 700 it, or choose another directory")
    return {role: f"ipc://{checked(directory / f'{role}.sock')}" for role in roles}


def checked(path: Path) -> Path:
    """The path, if a Unix socket can have it. Raises `EndpointError` otherwise."""
    length = len(os.fsencode(path))
    if length > MAX_IPC_PATH:
        cure = "choose a shorter directory or use tcp"
        raise EndpointError(f"{path} has {length} bytes, a socket's path at most {MAX_IPC_PATH}: {cure}")
    return path


def tcp_endpoints(ports: Mapping[str, int], host: str = "127.0.0.1") -> dict[str, str]:
    """tcp endpoints; port 0 takes a free one, which `Server.endpoints` then tells."""
    return {role: f"tcp://{host}:{port or '*'}" for role, port in ports.items()}


class Server:
    """One ROUTER per role, bound. Poll, then drain, then send."""

    def __init__(self, endpoints: Mapping[str, str], *, unattended: Iterable[str] = ()) -> None:
        """Bind `endpoints` (role to address). Raises `EndpointError`, with nothing left bound.

        `wait` pays no attention to the `unattended` roles: they are drained now and then, and cost nothing
        until then.
        """
        self._unattended = frozenset(unattended)
        self._context = zmq.Context()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._descriptors: dict[int, str] = {}
        self._poll = select.poll()
        self._unsure: dict[str, None] = {}
        """Whose descriptor does not tell: a socket that was used may have emptied its mailbox meanwhile."""
        self._locks: list[tuple[Path, int]] = []
        self._leaving: list[tuple[Any, object, int]] = []
        self.endpoints: dict[str, str] = {}
        """Where clients connect, with the real port numbers."""
        try:
            for role, endpoint in endpoints.items():
                self._bind(role, endpoint)
        except BaseException:
            self.close()
            raise

    def _bind(self, role: str, endpoint: str) -> None:
        if endpoint.startswith("ipc://"):
            path = checked(Path(endpoint[len("ipc://") :]))
            lock = hold_ipc(path)
            if lock is None:
                text = f"{path} is in use: stop the process that has it, or choose another directory"
                raise EndpointError(text)
            self._locks.append((path, lock))
        socket = router(self._context)
        if role in self._unattended:
            socket.setsockopt(zmq.RCVHWM, UNATTENDED_HIGH_WATER_MARK)
            socket.setsockopt(zmq.SNDHWM, UNATTENDED_HIGH_WATER_MARK)
        self._sockets[role] = socket
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                text = f"{endpoint} is in use: stop the process that has it, or choose another port"
                raise EndpointError(text) from error
            raise EndpointError(
                f"cannot bind {endpoint}: {error.strerror}; choose another address"
            ) from error
        self.endpoints[role] = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        if role not in self._unattended:
            descriptor = self.descriptor(role)
            self._descriptors[descriptor] = role
            self._poll.register(descriptor, select.POLLIN)
            self._unsure[role] = None

    def wait(self, timeout_ms: int) -> list[str]:
        """The roles at whose sockets something may be received, at the latest after `timeout_ms`.

        A socket's descriptor can be read when its mailbox fills, but not while something in it has been left:
        so one that was used is asked itself, and only one that had nothing is waited for. zmq_poll would ask
        all of them twice, at two system calls each.
        """
        unsure = self._unsure
        ready: list[str] = []
        for role in list(unsure):
            if role not in self._unattended and has_arrived(self._sockets[role]):
                ready.append(role)
            else:
                del unsure[role]
        for descriptor, _ in self._poll.poll(0 if ready else timeout_ms):
            role = self._descriptors[descriptor]
            unsure[role] = None
            if role not in ready:
                ready.append(role)
        return ready

    def descriptor(self, role: str) -> int:
        """What tells when the mailbox of a socket fills (ZMQ_FD)."""
        return int(self._sockets[role].getsockopt(zmq.FD))

    def drain(self, role: str, limit: int = DRAIN) -> list[tuple[bytes, bytes | None]]:
        """What has arrived at one socket: (routing id, frame); None for a message of several frames."""
        socket = self._sockets[role]
        recv, option = socket.recv, socket.getsockopt
        self._unsure[role] = None
        arrived: list[tuple[bytes, bytes | None]] = []
        counts: dict[bytes, int] = {}
        most = 0
        try:
            while len(arrived) < limit and most < max(2, DRAIN_EACH // (len(counts) or 1)):
                routing = recv(_NOBLOCK)
                most = counts[routing] = counts.get(routing, 0) + 1
                frame: bytes | None = recv(_NOBLOCK)
                # Left unread, the rest of the message would look like the routing id of somebody else.
                while option(_RCVMORE):
                    recv(_NOBLOCK)
                    frame = None
                arrived.append((routing, frame))
                # Often there is one message. To ask takes half the time of being told so by an exception.
                if len(arrived) == 1 and not has_arrived(socket):
                    break
        except zmq.Again:
            pass
        return arrived

    def send(self, role: str, routing: bytes, frame: bytes, owner: object = None) -> Sent:
        """Queue a frame for a peer, or tell at once why not.

        With an `owner`, `left` gives it once the peer's socket has taken in the whole frame. That costs some
        50 us, in a thread that pyzmq has for it: it is for long frames.
        """
        failed = self.send_all(((role, routing, frame, owner),))
        return failed[0][1] if failed else Sent.SENT

    def send_all(self, frames: Iterable[tuple[str, bytes, bytes, object]]) -> list[tuple[int, Sent]]:
        """Queue (role, routing id, frame, owner) in turn, as `send` does; which were not sent, and why."""
        failed: list[tuple[int, Sent]] = []
        sending, send = "", None
        for number, (role, routing, frame, owner) in enumerate(frames):
            if role != sending or send is None:
                sending, send = role, self._sockets[role].send
                self._unsure[role] = None
            try:
                # A full or vanished peer shows at the routing id, so nothing is ever half sent.
                send(routing, _SNDMORE)
                if owner is None:
                    send(frame, _NOBLOCK)
                else:
                    self._send_followed(send, frame, owner)
            except zmq.Again:
                failed.append((number, Sent.DROPPED))
            except zmq.ZMQError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                failed.append((number, Sent.GONE))
        return failed

    def _send_followed(self, send: Callable[..., Any], frame: bytes, owner: object) -> None:
        """Without a copy, so that libzmq tells when it needs the frame no more."""
        followed = zmq.Frame(frame, track=True, copy=False)
        send(followed, _NOBLOCK, copy=False)
        self._leaving.append((followed.tracker, owner, len(frame)))

    def left(self) -> list[tuple[Any, int]]:
        """Owners and bytes of frames that have left since the last look, or whose peer is gone."""
        leaving, self._leaving = self._leaving, []
        left: list[tuple[Any, int]] = []
        for one in leaving:
            if one[0].done:
                left.append(one[1:])
            else:
                self._leaving.append(one)
        return left

    def close(self) -> None:
        """Unbind, and leave no socket behind. What is still queued is discarded."""
        self._context.destroy(linger=0)
        for path, lock in self._locks:
            path.unlink(missing_ok=True)
            lock_file(path).unlink(missing_ok=True)
            os.close(lock)
        self._locks.clear()


def router(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """A ROUTER that tells when it cannot deliver.

    ZeroMQ's heartbeats stay off: libzmq 4.3.5 aborts the whole process when one falls due for a peer that has
    gone with its queue full (`!_io_error`, stream_engine_base.cpp). A lease tells who is silent.
    """
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.BACKLOG, BACKLOG)
    set_common(socket)
    socket.setsockopt(zmq.RCVHWM, ARRIVED_HIGH_WATER_MARK)
    socket.setsockopt(zmq.SNDHWM, LEAVING_HIGH_WATER_MARK)
    return socket


def set_common(socket: zmq.Socket[bytes]) -> None:
    """Options of both sides."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)


def has_arrived(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message can be received at once."""
    return bool(int(socket.getsockopt(_EVENTS)) & _POLLIN)


class Dealer:
    """A client's connection. Made by `Client.connect`."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], poller: zmq.Poller, endpoint: str) -> None:
        self._context = context
        self._poller = poller
        self._waiting: deque[bytes] = deque()  # what the socket does not take yet
        self.endpoint = endpoint
        self.socket = self._open()

    def _open(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        set_common(socket)
        # An answer is as long as what was asked for. Cut off for its length, a client would ask again.
        socket.setsockopt(zmq.MAXMSGSIZE, -1)
        try:
            socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            socket.close()
            text = f"cannot connect to {self.endpoint!r}: give ipc://PATH or tcp://HOST:PORT"
            raise EndpointError(text) from error
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def send(self, frames: Iterable[bytes]) -> None:
        """Queue frames; they leave in this order."""
        self._waiting.extend(frames)
        try:
            while self._waiting:
                self.socket.send(self._waiting[0], _NOBLOCK)
                self._waiting.popleft()
        except zmq.Again:
            pass  # tried again with the next send

    def is_blocked(self) -> bool:
        """True while frames wait here because the socket takes none."""
        return bool(self._waiting)

    def receive(self, limit: int = DRAIN) -> list[bytes]:
        """What has arrived."""
        recv = self.socket.recv
        frames: list[bytes] = []
        try:
            while len(frames) < limit:
                frames.append(recv(_NOBLOCK))
        except zmq.Again:
            pass
        return frames

    def reconnect(self) -> None:
        """Start over as a new peer. What was queued is discarded."""
        self.close()
        self._waiting.clear()
        self.socket = self._open()

    def close(self) -> None:
        """Disconnect."""
        self._poller.unregister(self.socket)
        self.socket.close(linger=0)


class Client:
    """A process's connections: to its hypervisor, and for a toolstack to who gives the orders."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._poller = zmq.Poller()

    def connect(self, endpoint: str) -> Dealer:
        """Connect; returns at once, also while nobody listens there. Raises `EndpointError`."""
        return Dealer(self._context, self._poller, endpoint)

    def watch(self, descriptor: int) -> None:
        """`wait` ends for this one, too, as soon as it can be read."""
        self._poller.register(descriptor, zmq.POLLIN)

    def wait(self, timeout_ms: float) -> bool:
        """True when any connection has something to receive, at the latest after `timeout_ms`.

        It is kept to the microsecond: what is left of a millisecond is waited for at the descriptors.
        """
        whole = int(timeout_ms)
        if self._poller.poll(whole):
            return True
        if timeout_ms == whole:
            return False
        # Just found empty, the sockets' descriptors tell what comes (`Server.wait`).
        select.select(self._descriptors(), (), (), (timeout_ms - whole) / 1000)
        return bool(self._poller.poll(0))

    def _descriptors(self) -> list[int]:
        """Of everything that `wait` waits for."""
        waited = [one for one, _ in self._poller.sockets]
        return [one if isinstance(one, int) else int(one.getsockopt(zmq.FD)) for one in waited]

    def close(self) -> None:
        """Disconnect everything."""
        self._context.destroy(linger=0)
