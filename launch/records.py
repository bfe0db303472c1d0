"""What a launcher leaves in a host's folder beside journal and histories: orders and outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from hypervisor.public.orders import LaunchOrder, Outcome
from hypervisor.public.units import Pages, Seconds

ORDERS: Final = "orders.jsonl"
OUTCOMES: Final = "outcomes.jsonl"


class Ordered(Struct, frozen=True):
    """One launch order, and when it was given: a line of orders.jsonl."""

    time: Seconds  # emulated
    order: int
    pages: Pages
    max_pages: Pages
    builder: str
    vcpus: int
    lifetime: Seconds | None = None


_ORDERED: Final = msgspec.json.Decoder(Ordered)
_OUTCOME: Final = msgspec.json.Decoder(Outcome)


def ordered(order: LaunchOrder, time: Seconds) -> Ordered:
    """The record of an order given at that emulated second."""
    fields = {name: getattr(order, name) for name in order.__struct_fields__}
    return Ordered(time=time, **fields)


def append_order(folder: Path, record: Ordered) -> None:
    """One more line of orders.jsonl."""
    _append(folder / ORDERS, order_line(record))


def append_outcome(folder: Path, outcome: Outcome) -> None:
    """One more line of outcomes.jsonl: what toolstacks said, as it was heard; secrets and frames left out."""
    _append(folder / OUTCOMES, outcome_line(outcome))


def order_line(record: Ordered) -> bytes:
    """A line of orders.jsonl."""
    return msgspec.json.encode(record) + b"\n"


def outcome_line(outcome: Outcome) -> bytes:
    """A line of outcomes.jsonl."""
    return msgspec.json.encode(msgspec.structs.replace(outcome, secret=b"", frames=())) + b"\n"


def read_orders(folder: Path) -> tuple[Ordered, ...]:
    """orders.jsonl; none when there is no such file. msgspec.DecodeError for what is no order."""
    return orders_of(_content(folder / ORDERS))


def read_outcomes(folder: Path) -> tuple[Outcome, ...]:
    """outcomes.jsonl; none when there is no such file. msgspec.DecodeError for what is no outcome."""
    return outcomes_of(_content(folder / OUTCOMES))


def orders_of(content: bytes) -> tuple[Ordered, ...]:
    """As `read_orders`, from the file's content."""
    return tuple(_ORDERED.decode(line) for line in _lines(content))


def outcomes_of(content: bytes) -> tuple[Outcome, ...]:
    """As `read_outcomes`, from the file's content."""
    return tuple(_OUTCOME.decode(line) for line in _lines(content))


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _lines(content: bytes) -> Iterator[bytes]:
    """Whole lines; one that its writer was killed in is left out."""
    return (line for line in content.split(b"\n")[:-1] if line)
