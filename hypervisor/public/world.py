"""What guest and toolstack coroutines may await: the same code runs in a process and in virtual time.

A coroutine sees nothing but a `World`: hypercalls, sleeps in emulated seconds, events, siblings and
the scenario's random stream. Whoever runs it (a process over ZeroMQ, the simulator) supplies one.
"""

import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import DomId, Seconds

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class IndefiniteError(Exception):
    """The answer was lost: the operation may or may not have happened. Never repeat it blindly."""


class RefusedByWireError(Exception):
    """The wire refused the message, which had no effect. `error` is a `WireError` value."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(f"{error}: {text}")
        self.error = error
        self.text = text


class Task(Awaitable[T_co], Protocol[T_co]):
    """A running sibling coroutine. Awaiting it gives its result or raises what it raised."""

    @property
    def name(self) -> str:
        """The name given at spawn."""
        ...

    def done(self) -> bool:
        """True once it has returned, raised or been cancelled."""
        ...

    def cancel(self) -> None:
        """Raise `Cancelled` inside it at its current await; no effect once done."""
        ...


class CancelledError(BaseException):
    """Raised inside a task that was cancelled (a BaseException: `except Exception` lets it pass)."""


class World(Protocol):
    """One domain's connection to its host."""

    @property
    def domid(self) -> DomId:
        """The domain this world speaks for; 0 for a toolstack."""
        ...

    @property
    def rng(self) -> random.Random:
        """This party's own random stream, seeded by the scenario."""
        ...

    def now(self) -> Seconds:
        """Emulated seconds since the run began."""
        ...

    def sleep(self, seconds: Seconds) -> Awaitable[None]:
        """Resume after `seconds` emulated seconds (0: after everything now runnable)."""
        ...

    def hypercall(self, request: Request) -> Awaitable[Reply]:
        """One request. Raises `IndefiniteError` or `RefusedByWireError`; errnos come in `Reply.ret`."""
        ...

    def multicall(self, requests: Sequence[Request]) -> Awaitable[tuple[Reply, ...]]:
        """Several requests in one message, run in order; others may run between them."""
        ...

    def next_event(self) -> Awaitable[Event]:
        """The next VIRQ or xenstore watch event, in order of arrival."""
        ...

    def listen(self, virqs: Sequence[int]) -> Awaitable[None]:
        """Have these VIRQs delivered to `next_event`."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Run a sibling concurrently. An exception nobody awaits ends the party with that exception."""
        ...


WorldCoroutine = Callable[[World], Coroutine[Any, Any, None]]
