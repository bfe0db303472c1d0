"""The journal of a host and the histories of its clients: append-only streams of msgpack objects.

Journal: first a map, {"format": "claimlab-journal", "version": 1, ...what the writer was told}. Then
one array per atomic step, in commit order:
    [commit, operation, step, [domid, incarnation] | nil, request | nil, digest | nil, ret | nil]
The caller and the request (as on the wire: [tag, fields...]) stand in an operation's first step only,
digest and ret in its last. The digest is the CRC-32 of the core's reply as msgpack. Between them, for
what has no commit number because it changed no book, arrays whose first element is text:
    [kind, real ms, {fields}]
Of these ["clock", real ms, {"commit": n, "s": emulated}] says when commits were done: all up to n, and not
yet those behind it; it stands at most once in a real millisecond, and only where there are new commits.
Of both kinds of file is ["sum", 0, {"crc": ...}], the CRC-32 of every byte of the file before it,
at least once in SUM_EVERY bytes and at a good end. It finds what rots; who forges can forge it too.
History: a map {"format": "claimlab-history", ...}, then, with times in real nanoseconds:
    ["invoked", ns, domid, incarnation, seq, [request, ...]]
    ["returned", ns, domid, incarnation, seq, [[ret, first, last], ...] | wire error | ""]
A writer killed in mid-record leaves a torn last record, which readers leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple, cast
from zlib import crc32

import msgpack
import msgspec

from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import Commit, DomId, Seconds

JOURNAL_FORMAT: Final = "claimlab-journal"
HISTORY_FORMAT: Final = "claimlab-history"
VERSION: Final = 1
LONG_BUFFER: Final = 1 << 16
"""Bytes."""
SUM_EVERY: Final = 1 << 18
"""Bytes between two checksums."""
RECORDS_HELD: Final = 256
"""Records after which a reader forgets bytes that no checksum has asked for."""
READ_AHEAD: Final = 1 << 14
"""Bytes. What each open file costs a reader in memory: a run of a thousand guests has a thousand."""
SUM: Final = "sum"
CLOCK: Final = "clock"
_REQUEST: Final = msgspec.msgpack.Decoder(Request)
"""Made once: msgspec.convert would look at the whole union anew for every request."""


class JournalError(Exception):
    """The file is no journal, or no history, that this program can read."""


class StepRecord(NamedTuple):
    """One atomic step."""

    commit: Commit
    operation: int
    step: str
    caller: tuple[DomId, int] | None
    """(domid, incarnation); None after the operation's first step, as is `request`."""
    request: Request | None
    digest: int | None
    """None before the operation's last step, as is `ret`."""
    ret: int | None


class NoteRecord(NamedTuple):
    """Something about a session: hello, goodbye, lost, silent, heard-again, domain-gone, dropped, ..."""

    kind: str
    time: int
    fields: dict[str, Any]


class Invoked(NamedTuple):
    """A client handed a Call over."""

    time: int
    domid: DomId
    incarnation: int
    seq: int
    requests: tuple[Request, ...]


class Returned(NamedTuple):
    """A client learned a Call's outcome."""

    time: int
    domid: DomId
    incarnation: int
    seq: int
    replies: tuple[tuple[int, Commit, Commit], ...]
    """(ret, first, last) of each; empty when there is an error."""
    error: str | None
    """None when answered, a `WireError` value when it had no effect, "" when indefinite."""


class StreamWriter:
    """Records into a buffer, the buffer into a file."""

    def __init__(self, file: BinaryIO, header: Mapping[str, object]) -> None:
        self._file = file
        self._buffer = bytearray()
        self._crc = self._unsummed = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._append(dict(header))
        self.flush()

    def _append(self, record: object) -> None:
        self._encoder.encode_into(record, self._buffer, -1)

    def is_long(self) -> bool:
        """True when enough is buffered to be worth a write of its own."""
        return len(self._buffer) > LONG_BUFFER

    def flush(self) -> None:
        """Hand everything to the operating system, so that it survives this process; a checksum when due."""
        self._count(self._buffer)
        if self._unsummed >= SUM_EVERY:
            self._sum()
        self._write()

    def close(self) -> None:
        """Flush with a checksum, and close the file."""
        self.flush()
        self._sum()
        self._write()
        self._file.close()

    def _write(self) -> None:
        if self._buffer:
            self._file.write(self._buffer)
            self._file.flush()
            self._buffer.clear()

    def _sum(self) -> None:
        start = len(self._buffer)
        self._append((SUM, 0, {"crc": self._crc}))
        self._count(self._buffer[start:])
        self._unsummed = 0

    def _count(self, content: bytearray) -> None:
        self._crc = crc32(content, self._crc)
        self._unsummed += len(content)


class JournalWriter(StreamWriter):
    """The hypervisor's side: one record per atomic step, flushed before the replies leave."""

    def __init__(self, file: BinaryIO, header: Mapping[str, object]) -> None:
        """`header` says what a replay needs (release, host)."""
        super().__init__(file, {"format": JOURNAL_FORMAT, "version": VERSION, **header})

    def step(
        self,
        commit: Commit,
        operation: int,
        step: str,
        caller: tuple[DomId, int] | None,
        request: Request | None,
        reply: Reply | None,
    ) -> None:
        """Record a step: `caller` and `request` with an operation's first, `reply` with its last."""
        digest = ret = None
        if reply is not None:
            digest, ret = crc32(self._encoder.encode(reply)), reply.ret
        record = (commit, operation, step, caller, request, digest, ret)
        self._encoder.encode_into(record, self._buffer, -1)

    def note(self, kind: str, time: int, fields: Mapping[str, object]) -> None:
        """Record something that changed no book."""
        self._append((kind, time, fields))

    def clock(self, time: int, commit: Commit, emulated: Seconds) -> None:
        """Record that the steps up to `commit` were done by now: real ms, and emulated seconds."""
        self.note(CLOCK, time, {"commit": commit, "s": emulated})


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


class _SummedFile:
    """A file that knows the CRC-32 of what was read of it, up to any place not yet asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._held = bytearray()
        self._crc = self._place = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        content = self._file.read(size)
        self._held += content
        return content

    def through(self, place: int) -> int:
        """The CRC-32 of the bytes before `place`, which may not fall."""
        count = place - self._place
        self._crc = crc32(self._held[:count], self._crc)
        del self._held[:count]
        self._place = place
        return self._crc


class StreamReader:
    """Objects of a stream one after the other, in bounded memory."""

    def __init__(self, file: BinaryIO, wanted: str) -> None:
        self._wanted = wanted
        self._summed = _SummedFile(file)
        self._unpacker = msgpack.Unpacker(self._summed, read_size=READ_AHEAD, raw=False, strict_map_key=False)
        self.place = 0
        """Bytes from the start of the file to the end of the last whole record read."""
        first = next(self.objects(), None)
        header = cast(dict[str, Any], first) if isinstance(first, dict) else {}
        if header.get("format") != wanted:
            raise JournalError(f"not a {wanted}: give a file that this program wrote")
        if header.get("version") != VERSION:
            raise JournalError(f"{wanted} version {header.get('version')}: this program reads {VERSION}")
        self.header = header

    def objects(self) -> Iterator[Any]:
        """The records as plain lists, checksums compared and included. JournalError at a damaged one."""
        unpacker, start, count = self._unpacker, self.place, 0
        try:
            # The Unpacker ends its iteration at a torn record as at the end of the file.
            for record in unpacker:
                self.place = place = unpacker.tell()
                if type(record) is list and record and record[0] == SUM:
                    self._compare(record, start)
                count += 1
                if not count % RECORDS_HELD:
                    self._summed.through(place)
                start = place
                yield record
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
            text = f"no {self._wanted}, or damaged after byte {self.place}: {error!r}"
            raise JournalError(text) from error

    def _compare(self, record: Any, start: int) -> None:
        if record != [SUM, 0, {"crc": self._summed.through(start)}]:
            raise JournalError(
                f"the {start} bytes before it, or it, are not those that were written: {record}"
            )


class JournalReader(StreamReader):
    """Iterates over a journal's `StepRecord`s and `NoteRecord`s."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises `JournalError` when it is none."""
        super().__init__(file, JOURNAL_FORMAT)

    def __iter__(self) -> Iterator[StepRecord | NoteRecord]:
        for record in self.objects():
            if record[0] == SUM:
                continue
            yield NoteRecord(*record) if isinstance(record[0], str) else step_record(record)

    def steps(self) -> Iterator[StepRecord]:
        """The atomic steps alone."""
        return (record for record in self if isinstance(record, StepRecord))


class HistoryReader(StreamReader):
    """Iterates over a client's `Invoked` and `Returned`."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises `JournalError` when it is none."""
        super().__init__(file, HISTORY_FORMAT)

    def __iter__(self) -> Iterator[Invoked | Returned]:
        for record in self.objects():
            if record[0] == SUM:
                continue
            kind, time, domid, incarnation, seq, content = record
            if kind == "invoked":
                requests = tuple(to_request(one) for one in content)
                yield Invoked(time, domid, incarnation, seq, requests)
            elif isinstance(content, str):
                yield Returned(time, domid, incarnation, seq, (), content)
            else:
                replies = tuple((ret, first, last) for ret, first, last in content)
                yield Returned(time, domid, incarnation, seq, replies, None)


def step_record(record: list[Any]) -> StepRecord:
    """A step's array as a `StepRecord`."""
    commit, operation, step, caller, request, digest, ret = record
    return StepRecord(
        commit,
        operation,
        step,
        None if caller is None else (caller[0], caller[1]),
        None if request is None else to_request(request),
        digest,
        ret,
    )


def to_request(content: object) -> Request:
    """A request from its wire form, [tag, fields...]."""
    request: Request = _REQUEST.decode(msgspec.msgpack.encode(content))
    return request


def reply_digest(reply: Reply) -> int:
    """The digest a journal holds of the core's reply."""
    return crc32(msgspec.msgpack.encode(reply))
