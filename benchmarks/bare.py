"""The process that a guest's is measured against. It imports what it needs for that and nothing else, and the
fork server has that already: what a benchmark's own module imports is no cost of starting a process."""

from __future__ import annotations

import zmq

from hypervisor.transport import set_common


def bare_process(endpoint: str) -> None:
    """Connect a socket, say one word, wait for ever."""
    with zmq.Context() as zmq_context, zmq_context.socket(zmq.DEALER) as socket:
        set_common(socket)
        socket.connect(endpoint)
        socket.send(b"here")
        socket.recv()
