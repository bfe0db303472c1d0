"""The anchor of every row that crosses the wire: a bare pyzmq ROUTER that sends back what comes."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import zmq

from benchmarks.hosts import context, end
from hypervisor.transport import set_common

DRAIN = 256


def echo_process(endpoint: str) -> None:
    """Main function: poll, drain, answer, in the fastest pattern pyzmq has (plain recv and send)."""
    with zmq.Context() as zmq_context, zmq_context.socket(zmq.ROUTER) as socket:
        set_common(socket)
        socket.setsockopt(zmq.BACKLOG, 1024)
        socket.bind(endpoint)
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        recv, send = socket.recv, socket.send
        noblock, sndmore = int(zmq.NOBLOCK), int(zmq.SNDMORE) | int(zmq.NOBLOCK)
        while True:
            poller.poll()
            try:
                for _ in range(DRAIN):
                    routing = recv(noblock)
                    frame = recv(noblock)
                    send(routing, sndmore)
                    send(frame, noblock)
            except zmq.Again:
                pass


@contextmanager
def echoing() -> Generator[str]:
    """An echo's endpoint until the block ends."""
    with tempfile.TemporaryDirectory(prefix="claimlab-echo-") as name:
        endpoint = f"ipc://{Path(name) / 'echo.sock'}"
        process = context.Process(target=echo_process, args=(endpoint,))
        process.start()
        try:
            yield endpoint
        finally:
            end(process)
