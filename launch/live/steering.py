"""Steering a run from outside: what a live view may ask for, and what it is told.

The one who watches and the one who runs are two processes with a connection between them. A thread of the
launcher reads it; what was asked for is done between two looks of the run itself, through the handles of its
own processes. To stop is a SIGINT to the launcher: the way that Ctrl-C takes, in whatever phase the run is.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
from contextlib import suppress
from enum import StrEnum
from multiprocessing.connection import Connection
from typing import Final, Protocol

import msgspec
from msgspec import Struct

PAUSED_LOOK_SECONDS: Final = 0.1
"""Real seconds between two looks of a run that stands still."""


class Verb(StrEnum):
    """What can be asked for."""

    PAUSE = "pause"
    """Everything stands still, emulated time too, until PAUSE comes again."""
    HOLD = "hold"
    """SIGSTOP for one guest's process, SIGCONT for one that is held."""
    KILL = "kill"
    """SIGKILL for one guest's process."""
    STOP = "stop"


class Command(Struct, frozen=True):
    """From whoever watches."""

    verb: Verb
    host: str = ""
    domid: int = -1
    incarnation: int = -1


class Said(Struct, frozen=True):
    """To whoever watches: a line, or that the run stands still or goes on."""

    text: str = ""
    paused: bool | None = None


class Steered(Protocol):
    """One host of the run."""

    @property
    def name(self) -> str:
        """The host's."""
        ...

    def stand_still(self) -> None:
        """Stop every process of it, and with them emulated time."""
        ...

    def go_on(self) -> None:
        """Let them run again, at the emulated instant at which they stopped."""
        ...

    def hold(self, domid: int, incarnation: int) -> str:
        """Stop the process of a guest, or let it go on; a line that says which, or why not."""
        ...

    def kill(self, domid: int, incarnation: int) -> str:
        """Kill the process of a guest; a line that says so, or why not."""
        ...


class Steering:
    """The launcher's end. Without a connection nobody asks for anything."""

    def __init__(self, connection: Connection | None = None) -> None:
        self._connection = connection
        self._asked: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._hosts: dict[str, Steered] = {}
        self._open = connection is not None
        if connection is not None:
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    @property
    def is_watched(self) -> bool:
        """Whether somebody is at the other end."""
        return self._open

    def _read(self, connection: Connection) -> None:
        try:
            while True:
                command = msgspec.json.decode(connection.recv_bytes(), type=Command)
                if command.verb is Verb.STOP:
                    os.kill(os.getpid(), signal.SIGINT)
                else:
                    self._asked.put(command)
        except (EOFError, OSError):
            self._open = False  # the view was closed: the run goes on without it

    def say(self, text: str = "", paused: bool | None = None) -> bool:
        """Tell whoever watches; False when nobody does."""
        if self._connection is None or not self._open:
            return False
        try:
            self._connection.send_bytes(msgspec.json.encode(Said(text, paused)))
        except OSError:
            self._open = False
        return self._open

    def close(self) -> None:
        """The run is over: whoever watches is told by the end of the connection."""
        connection, self._open = self._connection, False
        if connection is not None:
            with suppress(OSError):
                # Closing alone would leave the thread that reads it asleep, and the other end uninformed.
                with socket.socket(fileno=os.dup(connection.fileno())) as both:
                    both.shutdown(socket.SHUT_RDWR)
                connection.close()

    def join(self, host: Steered) -> None:
        """Emulated time has begun on it."""
        self._hosts[host.name] = host

    def leave(self, host: Steered) -> None:
        """It is over."""
        self._hosts.pop(host.name, None)

    def look(self) -> None:
        """Do what has been asked for since the last look; returns when the run may go on."""
        while not self._asked.empty():
            command = self._asked.get()
            if command.verb is Verb.PAUSE:
                self._stand_still()
            else:
                self._steer(command)

    def _stand_still(self) -> None:
        """Until it is asked for again, or nobody is left to ask. Guests can be held and killed meanwhile."""
        hosts = list(self._hosts.values())
        try:
            for host in hosts:
                host.stand_still()
            self.say("everything stands still", paused=True)
            while self._open:
                try:
                    command = self._asked.get(timeout=PAUSED_LOOK_SECONDS)
                except queue.Empty:
                    continue
                if command.verb is Verb.PAUSE:
                    break
                self._steer(command)
        finally:
            for host in hosts:
                host.go_on()
            self.say("everything goes on", paused=False)

    def _steer(self, command: Command) -> None:
        host = self._hosts.get(command.host)
        if host is None:
            self.say(f"{command.host}: no such host runs now")
        elif command.verb is Verb.KILL:
            self.say(host.kill(command.domid, command.incarnation))
        else:
            self.say(host.hold(command.domid, command.incarnation))


UNATTENDED: Final = Steering()
"""Of runs that nobody steers."""
