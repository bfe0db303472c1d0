"""Real client processes that race on a real hypervisor."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hypervisor.core.host import HostConfig
from hypervisor.edge import Clock, Identity, run_party
from hypervisor.public.world import World
from tests.running_hypervisor import CONTROL, PATIENCE, context, running_hypervisor

Body = Callable[..., Coroutine[Any, Any, Any]]


@contextmanager
def real_host(release: str, host: HostConfig) -> Iterator[Access]:
    """A hypervisor process until the block ends, and how to reach it."""
    with running_hypervisor(release=release, host=host) as running:
        yield Access(running.endpoints, CONTROL)


@dataclass(frozen=True)
class Access:
    """What a client process needs to reach the host."""

    endpoints: dict[str, str]
    control_secret: bytes

    def control(self, body: Body, *arguments: Any) -> Any:
        """Run a coroutine as the control domain in this process and return what it returned."""
        identity = Identity(0, secrets.randbits(63), self.control_secret, "test")
        return _run(self.endpoints["toolstacks"], identity, body, arguments)

    def guest(self, domid: int, incarnation: int, secret: bytes, body: Body, *arguments: Any) -> Any:
        """Run a coroutine as a guest in this process and return what it returned."""
        identity = Identity(domid, incarnation, secret, f"guest {domid}")
        return _run(self.endpoints["guests"], identity, body, arguments)


def _run(endpoint: str, identity: Identity, body: Body, arguments: tuple[Any, ...]) -> Any:
    answers: list[Any] = []

    async def main(world: World) -> None:
        answers.append(await body(world, *arguments))

    clock = Clock(1.0, time.monotonic_ns())
    run_party(main, endpoint=endpoint, identity=identity, clock=clock, seed=0)
    return answers[0]


class Racers:
    """Client processes that begin together and each return something."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._queue = context.SimpleQueue()

    def race(self, *bodies: tuple[Body, tuple[Any, ...]]) -> list[Any]:
        """Run each body as a toolstack in a process of its own; their answers in order."""
        barrier = context.Barrier(len(bodies))
        processes = [
            context.Process(
                target=_race, args=(self._access, number, barrier, self._queue, body, arguments), daemon=True
            )
            for number, (body, arguments) in enumerate(bodies)
        ]
        for process in processes:
            process.start()
        try:
            answers = dict(self._answer() for _ in processes)
        except BaseException:
            for process in processes:
                process.kill()  # they may wait for the one that failed
            raise
        finally:
            for process in processes:
                process.join()
        return [answers[number] for number in range(len(bodies))]

    def _answer(self) -> tuple[int, Any]:
        number, answer = self._queue.get()
        assert answer is not None, f"racer {number} failed"
        return number, answer


def _race(
    access: Access, number: int, barrier: Any, queue: Any, body: Body, arguments: tuple[Any, ...]
) -> None:
    answer: Any = None
    try:

        async def begin(world: World) -> Any:
            barrier.wait(PATIENCE)
            return await body(world, *arguments)

        answer = access.control(begin)
    finally:
        queue.put((number, answer))
