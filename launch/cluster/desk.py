"""The order desk: launch orders out, outcomes in, over the third socket (hypervisor/public/orders.py)."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

import msgspec

from hypervisor.public.orders import (
    FROM_TOOLSTACK,
    DestroyOrder,
    Dismiss,
    Enlist,
    Farewell,
    FromToolstack,
    LaunchOrder,
    Outcome,
    ToToolstack,
)
from hypervisor.transport import Sent, Server

ROLE: Final = "orders"


@dataclass(slots=True)
class Enlisted:
    """One toolstack at work."""

    name: str
    routing: bytes
    farewell: Farewell | None = None
    lost: bool = False


@dataclass(slots=True)
class News:
    """What one look at the socket brought."""

    enlisted: list[Enlisted] = field(default_factory=list[Enlisted])
    outcomes: list[tuple[Enlisted, Outcome]] = field(default_factory=list[tuple[Enlisted, Outcome]])
    farewells: list[Enlisted] = field(default_factory=list[Enlisted])
    complaints: list[str] = field(default_factory=list[str])


def _turn(one: Enlisted) -> int:
    """Toolstacks that are numbered take turns by number, whoever was up first; others as they enlisted."""
    number = one.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


class Desk:
    """Who enlisted, whose turn it is, who works on which order."""

    def __init__(self, server: Server, secret: bytes) -> None:
        self._server = server
        self._secret = secret
        self._staff: dict[bytes, Enlisted] = {}
        self._turns: Iterator[Enlisted] = iter(())
        self._in_charge: dict[int, Enlisted] = {}
        self._dismissed = False

    @property
    def staff(self) -> tuple[Enlisted, ...]:
        """Everyone who enlisted, in that order."""
        return tuple(self._staff.values())

    def look(self, timeout_ms: int) -> News:
        """What has arrived, at the latest after `timeout_ms` real milliseconds."""
        news = News()
        if self._server.wait(timeout_ms):
            for routing, frame in self._server.drain(ROLE):
                self._take(routing, frame, news)
        return news

    def _take(self, routing: bytes, frame: bytes | None, news: News) -> None:
        try:
            message: FromToolstack = FROM_TOOLSTACK.decode(frame or b"")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            news.complaints.append(f"a toolstack sent what is no message of orders.py: {error}")
            return
        one = self._staff.get(routing)
        match message:
            case Enlist():
                self._enlist(routing, message, news)
            case Outcome() if one is not None and self._in_charge.get(message.order) is one:
                news.outcomes.append((one, message))
            case Farewell() if one is not None:
                one.farewell = message
                news.farewells.append(one)
            case _:
                news.complaints.append(f"{type(message).__name__} from a toolstack that may not send it")

    def _enlist(self, routing: bytes, message: Enlist, news: News) -> None:
        if not hmac.compare_digest(message.secret, self._secret):
            news.complaints.append(f"{message.name} tried to enlist with a wrong secret")
            return
        one = self._staff[routing] = Enlisted(message.name, routing)
        self._turns = cycle(sorted(self._staff.values(), key=_turn))
        news.enlisted.append(one)

    def launch(self, order: LaunchOrder) -> bool:
        """Give the order to the next toolstack in turn; False when none is left to take it."""
        for _ in self._staff:
            one = next(self._turns)
            if not one.lost and self._send(one, order):
                self._in_charge[order.order] = one
                return True
        return False

    def destroy(self, order: DestroyOrder) -> bool:
        """Have the toolstack that built it destroy it; False when that one is gone."""
        one = self._in_charge.get(order.order)
        return one is not None and not one.lost and self._send(one, order)

    def dismiss(self) -> None:
        """No more orders for anybody; once is enough."""
        if self._dismissed:
            return
        self._dismissed = True
        for one in self._staff.values():
            if not one.lost and one.farewell is None:
                self._send(one, Dismiss())

    def _send(self, one: Enlisted, message: ToToolstack) -> bool:
        sent = self._server.send(ROLE, one.routing, msgspec.msgpack.encode(message))
        one.lost = one.lost or sent is Sent.GONE
        return sent is Sent.SENT
