"""Debian's redis-server on a unix socket with the accounting as a Lua script, and its clients."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.clients import SETTLE_SECONDS
from benchmarks.figures import SkippedError
from benchmarks.hosts import GUEST_PAGES, PATIENCE_MS, ROOM, Identity, piped
from benchmarks.mix import Mix
from hypervisor.public.memory import (
    CurrentReservation,
    DecreaseReservation,
    MaximumReservation,
    PopulatePhysmap,
)
from hypervisor.public.requests import Request
from hypervisor.public.tmem import TmemGetPage, TmemPutPage
from hypervisor.public.xenstore import StoreRead, StoreWrite

SCRIPT: Final = Path(__file__).with_name("accounting.lua")
FREE_PAGES: Final = 1 << 16


def arguments(identity: Identity, request: Request) -> tuple[str, ...]:
    """ARGV of the script for a request of one page."""
    domid = str(identity.domid)
    match request:
        case PopulatePhysmap():
            return "populate", domid, str(request.extents[0][0])
        case DecreaseReservation():
            return "decrease", domid, str(request.extents[0][0])
        case TmemPutPage():
            return "put", domid, str(request.oid[2]), str(request.content)
        case TmemGetPage():
            return "get", domid, str(request.oid[2])
        case CurrentReservation():
            return "reservation", domid, "tot_pages"
        case MaximumReservation():
            return "reservation", domid, "max_pages"
        case StoreRead():
            return "read", domid, request.path
        case StoreWrite():
            return "write", domid, request.path, request.value
        case _:
            return "other", domid


def packed(sha: str, calls: Sequence[tuple[str, ...]]) -> bytes:
    """A pipeline of EVALSHA in Redis's own protocol."""
    parts: list[str] = []
    for call in calls:
        words = ("EVALSHA", sha, "0", *call)
        parts.append(f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words))
    return "".join(parts).encode()


def client_process(pipe: Any, path: str, pipelines: list[bytes], size: int) -> None:
    """Main function: one pipeline after the other; every answer is an integer, so a line."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    pipe.send("ready")
    number = 0
    while True:
        try:
            begin, seconds = pipe.recv()
        except EOFError:
            return
        time.sleep(max(0.0, begin - time.monotonic()))
        count = 0
        while time.monotonic() < begin + seconds:
            connection.sendall(pipelines[number % len(pipelines)])
            number += 1
            lines = 0
            while lines < size:
                received = connection.recv(1 << 16)
                if b"-" in received or not received:
                    raise RuntimeError(f"Redis: {received!r}")
                lines += received.count(b"\n")
            count += size
        pipe.send(count)


class RedisClients:
    """Client processes of one Redis."""

    def __init__(self, pipes: list[Any]) -> None:
        self._pipes = pipes

    def rate(self, seconds: float) -> float:
        """Operations a second, all clients together."""
        begin = time.monotonic() + SETTLE_SECONDS
        for pipe in self._pipes:
            pipe.send((begin, seconds))
        counts: list[int] = [pipe.recv() for pipe in self._pipes]
        return sum(counts) / seconds


@contextmanager
def server() -> Generator[str]:
    """A redis-server's socket path until the block ends. SkippedError when there is none."""
    program = shutil.which("redis-server")
    if program is None:
        raise SkippedError("redis-server is not installed: apt install redis-server")
    with tempfile.TemporaryDirectory(prefix="claimlab-redis-") as name:
        path = str(Path(name) / "redis.sock")
        command = [program, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(command, cwd=name, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE_MS / 1000
            while not Path(path).exists():
                if time.monotonic() > deadline or process.poll() is not None:
                    raise SkippedError("redis-server did not start")
                time.sleep(0.01)
            yield path
        finally:
            process.terminate()
            process.wait()


def fill(path: str, identities: Sequence[Identity]) -> str:
    """A host's state; gives the script's name."""
    connection = redis.Redis(unix_socket_path=path)
    connection.rpush("free", *range(FREE_PAGES))
    connection.set("outstanding", 0)
    for one in identities:
        fields: dict[Any, Any] = {
            "tot_pages": GUEST_PAGES,
            "max_pages": GUEST_PAGES + ROOM,
            "outstanding": 0,
            "dying": 0,
        }
        connection.hset(f"domain:{one.domid}", mapping=fields)
    sha = str(connection.script_load(SCRIPT.read_text(encoding="utf-8")))
    connection.close()
    return sha


def _pipelines(mix: Mix, one: Identity, sha: str, size: int) -> list[bytes]:
    """A client's cycle as what goes over its socket."""
    return [packed(sha, [arguments(one, request) for request in call]) for call in mix.calls(one, size)]


@contextmanager
def redis_clients(mix: Mix, guests: int, size: int) -> Generator[RedisClients]:
    """As many clients as guests, each sending its cycle in pipelines of `size`."""
    with server() as path:
        identities = [Identity(domid, domid, b"") for domid in range(1, guests + 1)]
        sha = fill(path, identities)
        told = ((path, _pipelines(mix, one, sha, size), size) for one in identities)
        with piped(client_process, told) as pipes:
            yield RedisClients(pipes)
