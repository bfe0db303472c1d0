"""What a launcher leaves in a host's folder beside journal and histories: orders and outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from hypervisor.public.orders import LaunchOrder, Outcome
from hypervisor.public.units import Pages, Seconds

T = TypeVar("T")
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


class RecordError(msgspec.DecodeError):
    """A line that no run wrote: the file, the number of the line and what is wrong with it."""


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
    """orders.jsonl; none when there is no such file. RecordError for what is no order."""
    return orders_of(_content(folder / ORDERS), str(folder / ORDERS))


def read_outcomes(folder: Path) -> tuple[Outcome, ...]:
    """outcomes.jsonl; none when there is no such file. RecordError for what is no outcome."""
    return outcomes_of(_content(folder / OUTCOMES), str(folder / OUTCOMES))


def orders_of(content: bytes, file: str = ORDERS) -> tuple[Ordered, ...]:
    """As `read_orders`, from the file's content; `file` is what errors call it."""
    return _decoded(_ORDERED, content, file)


def outcomes_of(content: bytes, file: str = OUTCOMES) -> tuple[Outcome, ...]:
    """As `read_outcomes`, from the file's content; `file` is what errors call it."""
    return _decoded(_OUTCOME, content, file)


def _decoded(decoder: msgspec.json.Decoder[T], content: bytes, file: str) -> tuple[T, ...]:
    found: list[T] = []
    for number, line in _lines(content):
        try:
            found.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordError(f"{file}, line {number}: not what a run leaves: {error}") from error
    return tuple(found)


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole lines, numbered from 1; one that its writer was killed in is left out."""
    return ((number, line) for number, line in enumerate(content.split(b"\n")[:-1], start=1) if line)
