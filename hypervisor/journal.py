"""The journal of a host: every atomic step in commit order, on a stream of msgpack objects (`streams`).

After the header come blocks and notes. A block is what was done since the block before it, an array of six:
    [commit, call, [Call, ...], [turn, ...], [ret, ...], digest]
`commit` is that of its first step. The Calls are those taken in since, byte for byte as they came
(`hypervisor.public.protocol`), the first of them the run's Call number `call`. There is a turn for each
atomic step: the number of the Call whose request made it, negative when it was that request's last one. Of
these there is a `ret` each, and the digest is the CRC-32 of the core's replies to them, an array of `Reply`
as msgpack. A Call's requests run one after the other, so what each step did follows from a replay.
Notes are for what has no commit number because it changed no book, arrays of three:
    [kind, real ms, {fields}]
Of these ["clock", real ms, {"commit": n, "s": emulated}] says when commits were done: all up to n, and not
yet those behind it; it stands at most once in a real millisecond, and only where there are new commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct as Packer
from typing import Any, BinaryIO, Final, NamedTuple
from zlib import crc32

import msgspec
from msgspec import Raw, Struct

from hypervisor.public.protocol import Call, encode
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import Commit, DomId, Seconds
from hypervisor.streams import Sink, StreamReader, StreamWriter

JOURNAL_FORMAT: Final = "claimlab-journal"
VERSION: Final = 2
LONG_BLOCK: Final = 4096
"""Steps after which a block is worth a write of its own."""
CLOCK: Final = "clock"
_ARRAY: Final = Packer(">BI").pack
_ARRAY_32: Final = 0xDD


class Block(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The steps since the block before it."""

    commit: Commit
    """Of the first step."""
    call: int
    """Number of the first Call in `calls`."""
    calls: tuple[Call, ...]
    """Taken in since the block before, in order of arrival."""
    turns: tuple[int, ...]
    """For each step the number of its Call; negative when it was its request's last step."""
    rets: tuple[int, ...]
    """Of the requests whose last step is among these."""
    digest: int
    """`replies_digest` of their replies."""


class NoteRecord(NamedTuple):
    """Something about a session: hello, goodbye, lost, silent, heard-again, domain-gone, dropped, ..."""

    kind: str
    time: int
    fields: dict[str, Any]


class StepRecord(NamedTuple):
    """One atomic step, as far as the journal tells without a replay."""

    commit: Commit
    call: int
    """Number of the Call."""
    caller: tuple[DomId, int]
    """(domid, incarnation)."""
    request: Request | None
    """With a request's first step only."""
    ret: int | None
    """With its last step only."""


_ENCODER: Final = msgspec.msgpack.Encoder()
_BLOCK: Final = msgspec.msgpack.Decoder(Block)
_NOTE: Final = msgspec.msgpack.Decoder(tuple[str, int, dict[str, Any]])
_BLOCK_HEAD: Final = 0x96
"""An array of six."""


class JournalWriter(StreamWriter):
    """The hypervisor's side: flushed before the replies leave."""

    def __init__(self, file: Sink, header: Mapping[str, object]) -> None:
        """`header` says what a replay needs (release, host)."""
        self.frames: list[bytes] = []
        """Calls taken in since the last block, by their bytes; the first of all is Call 1."""
        self.turns: list[int] = []
        """Steps done since, each the next commit: the Call's number, negative for a request's last one."""
        self.replies: list[Reply] = []
        """The core's, to the requests that ended with these."""
        self._calls = 0
        """In blocks that are written."""
        self._commits = 0
        """Likewise."""
        self._numbers: dict[int, int] = {}
        super().__init__(file, {"format": JOURNAL_FORMAT, "version": VERSION, **header})

    # The hot path appends to the three lists itself: a call of Python costs as much as all of it.

    def step(
        self, operation: int, caller: tuple[DomId, int], request: Request | None, reply: Reply | None
    ) -> None:
        """Record a step where there is no wire: `request` with a first one, `reply` with a last one."""
        if request is not None:
            self.frames.append(encode(Call(*caller, operation, (request,))))
            self._numbers[operation] = self._calls + len(self.frames)
        if reply is None:
            self.turns.append(self._numbers[operation])
        else:
            self.turns.append(-self._numbers.pop(operation))
            self.replies.append(reply)

    def note(self, kind: str, time: int, fields: Mapping[str, object]) -> None:
        """Record something that changed no book."""
        self._seal()
        self._append((kind, time, fields))

    def clock(self, time: int, commit: Commit, emulated: Seconds) -> None:
        """Record that the steps up to `commit` were done by now: real ms, and emulated seconds."""
        self.note(CLOCK, time, {"commit": commit, "s": emulated})

    def is_long(self) -> bool:
        """True when enough is buffered to be worth a write of its own."""
        return len(self.turns) > LONG_BLOCK or super().is_long()

    def flush(self) -> None:
        """Hand everything to the operating system."""
        super().flush()
        if self.turns or self.frames:
            self._write(self._block())

    def _seal(self) -> None:
        if self.turns or self.frames:
            self._buffer += self._block()

    def _block(self) -> bytes:
        """Everything since the last block."""
        frames, turns, replies = self.frames, self.turns, self.replies
        calls = Raw(_ARRAY(_ARRAY_32, len(frames)) + b"".join(frames))
        rets = [reply.ret for reply in replies]
        digest = replies_digest(replies)
        block = self._encoder.encode((self._commits + 1, self._calls + 1, calls, turns, rets, digest))
        self._commits += len(turns)
        self._calls += len(frames)
        frames.clear()
        turns.clear()
        replies.clear()
        return block


class JournalReader(StreamReader):
    """A journal's `Block`s and `NoteRecord`s."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises `JournalError` when it is none."""
        super().__init__(file, JOURNAL_FORMAT, VERSION)

    def records(self) -> Iterator[Block | NoteRecord]:
        """One after the other. `JournalError` at a damaged one."""
        for content in self.contents():
            try:
                if content[0] == _BLOCK_HEAD:
                    yield _BLOCK.decode(content)
                else:
                    yield NoteRecord(*_NOTE.decode(content))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise self.damaged(f"neither a block nor a note: {error}") from error

    def __iter__(self) -> Iterator[StepRecord | NoteRecord]:
        """The same step by step. `JournalError` for turns of Calls that there are not."""
        calls: dict[int, _Taken] = {}
        for record in self.records():
            if isinstance(record, NoteRecord):
                yield record
                continue
            calls.update((number, _Taken(call)) for number, call in enumerate(record.calls, record.call))
            rets = iter(record.rets)
            for commit, turn in enumerate(record.turns, record.commit):
                taken = calls.get(abs(turn))
                if taken is None:
                    raise self.damaged(f"commit {commit} is of Call {abs(turn)}, which is not there, or over")
                ret = next(rets, None) if turn < 0 else None
                yield taken.step(commit, abs(turn), turn < 0, ret)
                if taken.done == len(taken.call.requests):
                    del calls[abs(turn)]

    def steps(self) -> Iterator[StepRecord]:
        """The atomic steps alone."""
        return (record for record in self if isinstance(record, StepRecord))


class _Taken:
    """A Call with requests to come."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.done = 0
        self._begun = False

    def step(self, commit: Commit, number: int, last: bool, ret: int | None) -> StepRecord:
        """Its next one."""
        request = None if self._begun else self.call.requests[self.done]
        self._begun = not last
        self.done += last
        return StepRecord(commit, number, (self.call.domid, self.call.incarnation), request, ret)


def replies_digest(replies: Sequence[Reply]) -> int:
    """The digest a journal holds of the core's replies."""
    return crc32(_ENCODER.encode(replies))


def reply_digest(reply: Reply) -> int:
    """The same of a single reply."""
    return replies_digest((reply,))
