"""Journals and histories come back as written, in bounded memory, also when their writer was killed."""

from __future__ import annotations

import io
from pathlib import Path

import msgpack
import pytest

from hypervisor.journal import (
    SUM_EVERY,
    HistoryReader,
    HistoryWriter,
    Invoked,
    JournalError,
    JournalReader,
    JournalWriter,
    NoteRecord,
    Returned,
    StepRecord,
    reply_digest,
)
from hypervisor.public.domctl import CreateDomain, DomainInfo, Physinfo
from hypervisor.public.memory import ClaimPages, MemoryExchange, PopulatePhysmap
from hypervisor.public.requests import Reply, Request
from hypervisor.public.xenstore import StoreWrite

REQUESTS: tuple[Request, ...] = (
    PopulatePhysmap(5, ((0, 100), (2**40, 2**63)), 9, 1 << 16, 3),
    MemoryExchange(5, ((1, 2),), 0, 5, ((512, 1),), 9),
    ClaimPages(5, 2**64 - 1),
    CreateDomain(),
    Physinfo(),
    StoreWrite("/local/domain/5/data/ä", "text"),
)
REPLY = Reply(-12, 3, 9, DomainInfo(5, 1, 2, 3, 4, 5, 6, 7, 8, 9))


class Kept(io.BytesIO):
    """A file whose bytes outlive close()."""

    def close(self) -> None:
        self.kept = self.getvalue()
        super().close()


def written() -> tuple[bytes, list[StepRecord | NoteRecord]]:
    """A journal of some steps and notes, and the records it should give back."""
    file = Kept()
    writer = JournalWriter(file, {"release": "4.17", "host": {"node_pages": [1024]}})
    expected: list[StepRecord | NoteRecord] = []
    commit = 0
    for number, request in enumerate(REQUESTS, 1):
        caller = (number % 3, 2**64 - number)
        writer.step(commit + 1, number, "first", caller, request, None)
        writer.step(commit + 2, number, "last", None, None, REPLY)
        expected.append(StepRecord(commit + 1, number, "first", caller, request, None, None))
        expected.append(StepRecord(commit + 2, number, "last", None, None, reply_digest(REPLY), -12))
        commit += 2
    writer.note("lost", 77, {"role": "guests", "domains": [[5, 1]]})
    expected.append(NoteRecord("lost", 77, {"role": "guests", "domains": [[5, 1]]}))
    writer.close()
    return file.kept, expected


def test_a_journal_gives_back_what_was_written() -> None:
    """Every kind of record survives the way to the file and back, requests as typed values."""
    content, expected = written()
    reader = JournalReader(io.BytesIO(content))
    assert reader.header["release"] == "4.17"
    assert reader.header["host"] == {"node_pages": [1024]}
    assert list(reader) == expected
    assert list(JournalReader(io.BytesIO(content)).steps()) == expected[:-1]


def test_a_torn_journal_gives_back_every_whole_record() -> None:
    """Cut anywhere, the journal reads as a prefix of what was written and never raises."""
    content, expected = written()
    header = len(msgpack.packb(next(iter(msgpack.Unpacker(io.BytesIO(content))))))
    counts = []
    for length in range(header, len(content)):
        records = list(JournalReader(io.BytesIO(content[:length])))
        assert records == expected[: len(records)]
        counts.append(len(records))
    assert counts[0] == 0 and counts[-1] == len(expected)  # only the checksum at the end is torn
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
    writer.step(1, 1, "only", (0, 1), Physinfo(), REPLY)
    assert list(JournalReader(path.open("rb"))) == []
    writer.flush()
    with path.open("rb") as file:
        assert len(list(JournalReader(file))) == 1
    writer.close()


@pytest.mark.parametrize(
    "content",
    [b"", b"no journal", msgpack.packb({"format": "else"}), msgpack.packb([1, 2]), b"\xc1"],
)
def test_other_files_are_refused(content: bytes) -> None:
    """A file that is no journal is refused by name of what was wanted."""
    with pytest.raises(JournalError, match="claimlab-journal"):
        JournalReader(io.BytesIO(content))


def test_another_version_is_refused() -> None:
    """A journal of a version to come is refused with both numbers."""
    content = msgpack.packb({"format": "claimlab-journal", "version": 2})
    with pytest.raises(JournalError, match="version 2: this program reads 1"):
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
