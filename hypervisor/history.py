"""What a party saw: each Call's invocation and return, on a stream of msgpack objects (`streams`).

After the header, with times in real nanoseconds of a clock that all processes of the machine share:
    ["invoked", ns, domid, incarnation, seq, [request, ...]]
    ["returned", ns, domid, incarnation, seq, [[ret, first, last], ...] | wire error | ""]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import U16, U64, Commit, DomId
from hypervisor.streams import StreamReader, StreamWriter

HISTORY_FORMAT: Final = "claimlab-history"
VERSION: Final = 1


class Invoked(NamedTuple):
    """A client handed a Call over."""

    time: U64
    domid: U16
    incarnation: U64
    seq: U64
    requests: tuple[Request, ...]


class Returned(NamedTuple):
    """A client learned a Call's outcome."""

    time: U64
    domid: U16
    incarnation: U64
    seq: U64
    replies: tuple[tuple[int, Commit, Commit], ...]
    """(ret, first, last) of each; empty when there is an error."""
    error: str | None
    """None when answered, a `WireError` value when it had no effect, "" when indefinite."""


_INVOKED: Final = msgspec.msgpack.Decoder(tuple[str, U64, U16, U64, U64, tuple[Request, ...]])
_RETURNED: Final = msgspec.msgpack.Decoder(
    tuple[str, U64, U16, U64, U64, tuple[tuple[int, int, int], ...] | str]
)
_INVOKED_HEAD: Final = b"\x96\xa7invoked"
_RETURNED_HEAD: Final = b"\x96\xa8returned"


Entry = tuple[bool, int, DomId, int, int, Any]
"""(is it an invocation, time, domid, incarnation, seq, requests or (ret, first, last) of each or error)."""


class HistoryWriter(StreamWriter):
    """A client's side; a `hypervisor.session.world.HistorySink`. The caller decides when to flush."""

    def __init__(self, file: BinaryIO, header: Mapping[str, object], clock_ns: Callable[[], int]) -> None:
        """`clock_ns` is a clock that all processes of the machine share (CLOCK_MONOTONIC)."""
        super().__init__(file, {"format": HISTORY_FORMAT, "version": VERSION, **header})
        self._clock_ns = clock_ns

    def invoked(self, domid: DomId, incarnation: int, seq: int, requests: tuple[Request, ...]) -> None:
        """Record an invocation, now."""
        self._append(("invoked", self._clock_ns(), domid, incarnation, seq, requests))

    def returned(self, domid: DomId, incarnation: int, seq: int, replies: tuple[Reply, ...] | str) -> None:
        """Record a return, now."""
        outcome = replies if isinstance(replies, str) else [(r.ret, r.first, r.last) for r in replies]
        self._append(("returned", self._clock_ns(), domid, incarnation, seq, outcome))


class HistoryReader(StreamReader):
    """Iterates over a client's `Invoked` and `Returned`."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises `JournalError` when it is none."""
        super().__init__(file, HISTORY_FORMAT, VERSION)

    def __iter__(self) -> Iterator[Invoked | Returned]:
        for invoked, time, domid, incarnation, seq, content in self.entries():
            if invoked:
                yield Invoked(time, domid, incarnation, seq, content)
            elif isinstance(content, str):
                yield Returned(time, domid, incarnation, seq, (), content)
            else:
                yield Returned(time, domid, incarnation, seq, content, None)

    def entries(self) -> Iterator[Entry]:
        """The same at less cost."""
        invocation, outcome = _INVOKED.decode, _RETURNED.decode
        for content in self.contents():
            try:
                if content.startswith(_INVOKED_HEAD):
                    yield True, *invocation(content)[1:]
                elif content.startswith(_RETURNED_HEAD):
                    yield False, *outcome(content)[1:]
                else:
                    raise ValueError("another record")
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise self.damaged(f"neither an invocation nor a return: {error}") from error
