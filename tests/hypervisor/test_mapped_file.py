"""A file written through shared memory holds what was written, to whoever opens it and after any end."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path
from random import Random

import pytest

from hypervisor.journal import JournalReader, JournalWriter, NoteRecord
from hypervisor.mapped_file import ROOM, MappedFile
from hypervisor.public.domctl import Physinfo
from hypervisor.public.requests import Reply


def test_it_holds_what_was_written(tmp_path: Path) -> None:
    """Writes of all lengths, also across its windows, come out as one; nothing is left of its room."""
    dice = Random(3)
    written = bytearray()
    file = MappedFile(tmp_path / "file")
    for length in (1, 2, ROOM - 3, 5, 0, 3 * ROOM + 1, *(dice.randrange(1, 9999) for _ in range(300))):
        content = b"\x91" * min(length, 1) + dice.randbytes(max(length - 1, 0))
        written += content
        assert (file.write(bytearray(content)) or 0) == length
        assert (tmp_path / "file").read_bytes().rstrip(b"\0") == written.rstrip(b"\0")
    file.close()
    assert (tmp_path / "file").read_bytes() == written
    with pytest.raises(FileExistsError):
        MappedFile(tmp_path / "file")


def test_kill_9_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    """Of a writer that is killed every flushed record is there, behind them zeros only."""
    path = tmp_path / "journal"
    child = os.fork()
    if not child:
        try:
            writer = JournalWriter(MappedFile(path), {})
            for number in range(5000):
                writer.step(number, (0, 1), Physinfo(), Reply(number, number, number))
                writer.flush()
            writer.note("unflushed", 0, {})
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with path.open("rb") as file:
        reader = JournalReader(file)
        assert [step.ret for step in reader.steps()] == list(range(5000))
        assert path.stat().st_size > reader.place
        assert not path.read_bytes()[reader.place :].strip(b"\0")


def test_a_write_that_a_kill_cut_short_does_not_count() -> None:
    """A write's first byte comes last: without it nothing behind it is read, whatever it looks like."""
    whole = io.BytesIO()
    writer = JournalWriter(whole, {})
    writer.note("first", 0, {})
    writer.flush()
    length = len(whole.getvalue())
    writer.note("second", 0, {})
    writer.flush()
    content = bytearray(whole.getvalue())
    content[length] = 0
    reader = JournalReader(io.BytesIO(content))
    assert list(reader) == [NoteRecord("first", 0, {})]
    assert reader.place == length
