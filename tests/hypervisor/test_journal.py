"""Journals and histories come back as written, in bounded memory, also when their writer was killed."""

from __future__ import annotations

import io
from pathlib import Path

import msgpack
import pytest

from hypervisor.history import HistoryReader, HistoryWriter, Invoked, Returned
from hypervisor.journal import (
    Block,
    JournalReader,
    JournalWriter,
    NoteRecord,
    StepRecord,
    replies_digest,
)
from hypervisor.public.domctl import CreateDomain, DomainInfo, Physinfo
from hypervisor.public.memory import ClaimPages, MemoryExchange, PopulatePhysmap
from hypervisor.public.protocol import Call, encode
from hypervisor.public.requests import Reply, Request
from hypervisor.public.xenstore import StoreWrite
from hypervisor.streams import SUM_EVERY, JournalError

REQUESTS: tuple[Request, ...] = (
    PopulatePhysmap(5, ((0, 100), (2**40, 2**63)), 9, 1 << 16, 3),
    MemoryExchange(5, ((1, 2),), 0, 5, ((512, 1),), 9),
    ClaimPages(5, 2**64 - 1),
    CreateDomain(),
    Physinfo(),
    StoreWrite("/local/domain/5/data/ä", "text"),
)
REPLY = Reply(-12, 3, 9, DomainInfo(5, 1, 2, 3, 4, 5, 6, 7, 8, 9))
NOTE = NoteRecord("lost", 77, {"role": "guests", "domains": [[5, 1]]})


class Kept(io.BytesIO):
    """A file whose bytes outlive close()."""

    def close(self) -> None:
        self.kept = self.getvalue()
        super().close()


def written() -> tuple[bytes, list[Block | NoteRecord], list[StepRecord | NoteRecord]]:
    """A journal of two blocks and a note; its records, and the same step by step."""
    file = Kept()
    writer = JournalWriter(file, {"release": "4.17", "host": {"node_pages": [1024]}})
    calls = (Call(3, 2**64 - 1, 8, REQUESTS[:4]), Call(0, 7, 2**40, REQUESTS[4:]))
    writer.frames += map(encode, calls)
    writer.turns += [1, -1] * 4
    writer.replies += [REPLY] * 4
    writer.flush()
    writer.turns += [-2, -2]
    writer.replies += [REPLY] * 2
    writer.note(*NOTE)
    writer.close()
    blocks = [
        Block(1, 1, calls, (1, -1) * 4, (-12,) * 4, replies_digest([REPLY] * 4)),
        Block(9, 3, (), (-2, -2), (-12,) * 2, replies_digest([REPLY] * 2)),
        NOTE,
    ]
    caller = (3, 2**64 - 1)
    steps = [
        step
        for place, request in enumerate(REQUESTS[:4])
        for step in (
            StepRecord(2 * place + 1, 1, caller, request, None),
            StepRecord(2 * place + 2, 1, caller, None, -12),
        )
    ]
    steps += [StepRecord(9 + place, 2, (0, 7), one, -12) for place, one in enumerate(REQUESTS[4:])]
    return file.kept, blocks, [*steps, NOTE]


def test_a_journal_gives_back_what_was_written() -> None:
    """Calls, turns and notes survive the way to the file and back, requests as typed values."""
    content, blocks, steps = written()
    reader = JournalReader(io.BytesIO(content))
    assert reader.header["release"] == "4.17"
    assert reader.header["host"] == {"node_pages": [1024]}
    assert list(reader.records()) == blocks
    assert list(JournalReader(io.BytesIO(content))) == steps
    assert list(JournalReader(io.BytesIO(content)).steps()) == steps[:-1]


def test_another_codec_reads_the_journal() -> None:
    """A block is what docs/evidence.md says, the Calls in it byte for byte as they came."""
    content, blocks, _ = written()
    first = blocks[0]
    assert isinstance(first, Block)
    _, block, *_ = msgpack.Unpacker(io.BytesIO(content))
    assert block[:2] == [1, 1]
    assert [msgpack.packb(call) for call in block[2]] == [encode(call) for call in first.calls]
    assert block[3:] == [[1, -1] * 4, [-12] * 4, first.digest]


def test_a_torn_journal_gives_back_every_whole_record() -> None:
    """Cut anywhere, the journal reads as a prefix of what was written and never raises."""
    content, blocks, _ = written()
    header = len(msgpack.packb(next(iter(msgpack.Unpacker(io.BytesIO(content))))))
    counts = []
    for length in range(header, len(content)):
        records = list(JournalReader(io.BytesIO(content[:length])).records())
        assert records == blocks[: len(records)]
        counts.append(len(records))
    assert counts[0] == 0 and counts[-1] == len(blocks)  # only the checksum at the end is torn
    assert counts == sorted(counts)


def test_checksums_come_often_enough_and_find_every_changed_byte() -> None:
    """A long journal holds several; whichever byte is changed, reading it to the end fails."""
    file = Kept()
    writer = JournalWriter(file, {})
    for number in range(1, 400):
        writer.note("text", number, {"text": "x" * 4096})
        writer.flush()
    writer.close()
    sums = [one for one in msgpack.Unpacker(io.BytesIO(file.kept)) if "sum" in one]
    assert len(sums) == len(file.kept) // SUM_EVERY + 1 > 5
    assert len(list(JournalReader(io.BytesIO(file.kept)))) == 399
    for place in (30, 5_000, SUM_EVERY, len(file.kept) - 40, len(file.kept) - 1):
        changed = bytearray(file.kept)
        changed[place] ^= 1
        with pytest.raises(JournalError):
            list(JournalReader(io.BytesIO(changed)))


def test_flushed_records_are_in_the_file(tmp_path: Path) -> None:
    """After flush() another process can read the records, the writer still being open."""
    path = tmp_path / "journal"
    writer = JournalWriter(path.open("xb"), {})
    writer.step(1, (0, 1), Physinfo(), REPLY)
    assert list(JournalReader(path.open("rb"))) == []
    writer.flush()
    with path.open("rb") as file:
        assert list(JournalReader(file)) == [StepRecord(1, 1, (0, 1), Physinfo(), -12)]
    writer.close()


@pytest.mark.parametrize(
    "record", [[1, 1, [], [-1], [0], 0], [1, 1, [[2, 0, 1, 1, [[0x2303]]]], [-1, -1], [0, 0], 0], [1], ["x"]]
)
def test_what_no_hypervisor_writes_is_damage(record: object) -> None:
    """A turn of a Call that is not there or over, and an array of another shape, are named as such."""
    head = msgpack.packb({"format": "claimlab-journal", "version": 2})
    with pytest.raises(JournalError, match="damaged"):
        list(JournalReader(io.BytesIO(head + msgpack.packb(record))))


@pytest.mark.parametrize(
    "content",
    [b"", b"no journal", msgpack.packb({"format": "else"}), msgpack.packb([1, 2]), b"\xc1"],
)
def test_other_files_are_refused(content: bytes) -> None:
    """A file that is no journal is refused by name of what was wanted."""
    with pytest.raises(JournalError, match="claimlab-journal"):
        JournalReader(io.BytesIO(content))


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_is_refused(version: int) -> None:
    """A journal of an earlier version, or of one to come, is refused with both numbers and the cure."""
    content = msgpack.packb({"format": "claimlab-journal", "version": version})
    wanted = f"version {version}: this program reads 2: check it with the claimlab that wrote it"
    with pytest.raises(JournalError, match=wanted):
        JournalReader(io.BytesIO(content))


def test_a_history_gives_back_invocations_and_returns() -> None:
    """A client's history holds who asked what and how it ended, with the clock's times."""
    file = Kept()
    times = iter(range(100, 200))
    writer = HistoryWriter(file, {"party": "guest"}, lambda: next(times))
    writer.invoked(5, 1, 1, REQUESTS)
    writer.returned(5, 1, 1, (REPLY,))
    writer.returned(5, 1, 2, "no-credit")
    writer.returned(5, 1, 3, "")
    writer.close()
    reader = HistoryReader(io.BytesIO(file.kept))
    assert reader.header["party"] == "guest"
    assert list(reader) == [
        Invoked(100, 5, 1, 1, REQUESTS),
        Returned(101, 5, 1, 1, ((-12, 3, 9),), None),
        Returned(102, 5, 1, 2, (), "no-credit"),
        Returned(103, 5, 1, 3, (), ""),
    ]
