"""Hypercalls on their way in virtual time, and the links that carry them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from hypervisor.core.steps import Caller
from hypervisor.public.requests import Reply, Request
from hypervisor.tasks import Future

OfWire = tuple[Callable[[Reply], None], Callable[[], None]]
"""What to do with the reply to a request that a wire brought, and what when its domain went without one."""


class Party(Protocol):
    """Whoever calls: a `launch.simulate.sim_world.SimWorld`."""

    caller: Caller
    wire: Wire | None
    """Its link, where that is more than a delay."""
    listens: bool
    """Whether it learns at once of whatever arrives."""

    def arrive(self, wake: Callable[[], None]) -> None:
        """Something for this party: it learns of it now, when it is resumed, or never."""
        ...


class SimCall(Struct, eq=False):
    """A hypercall or multicall under way."""

    world: Party
    seq: int
    requests: tuple[Request, ...]
    future: Future[Any]
    single: bool
    replies: list[Reply]


class Wire(Protocol):
    """A link that is more than a delay (`launch.simulate.wires`)."""

    def send(self, call: SimCall) -> None:
        """Take a call from its party; `Simulator.delivered` has to be told how it ended."""
        ...

    def domain_died(self) -> None:
        """Some domain did."""
        ...
