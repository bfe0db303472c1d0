"""Append-only streams of msgpack objects: what the journal and the histories have in common.

First a map, the header, {"format": ..., "version": ..., ...what the writer was told}; then arrays. Of both
kinds of file is ["sum", 0, {"crc": ...}], the CRC-32 of every byte of the file before it, at least once in
SUM_EVERY bytes and at a good end. It finds what rots; who forges can forge it too. A writer killed in
mid-record leaves a torn last record, which readers leave out; of one that was killed before a zero is left
where the next record would begin (`mapped_file`), and nothing behind it counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, Protocol, cast
from zlib import crc32

import msgpack
import msgspec

LONG_BUFFER: Final = 1 << 16
"""Bytes."""
SUM_EVERY: Final = 1 << 18
"""Bytes between two checksums."""
BYTES_HELD: Final = 1 << 14
"""Bytes after which a reader forgets what no checksum has asked for."""
READ_AHEAD: Final = 1 << 14
"""Bytes. What each open file costs a reader in memory: a run of a thousand guests has a thousand."""
SUM: Final = "sum"
_NOTHING: Final = b"\0"
_SUM_HEAD: Final = b"\x93\xa3sum"
"""How a checksum begins: an array of 3, a text of 3."""


class JournalError(Exception):
    """The file is no journal, or no history, that this program can read."""


class Sink(Protocol):
    """A file to be written."""

    def write(self, content: bytes | bytearray, /) -> object:
        """Append."""
        ...

    def flush(self) -> object:
        """What was written survives this process."""
        ...

    def close(self) -> object:
        """A good end."""
        ...


class StreamWriter:
    """Records into a buffer, the buffer into a file."""

    def __init__(self, file: Sink, header: Mapping[str, object]) -> None:
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
        if self._buffer:
            self._write(self._buffer)
            self._buffer.clear()

    def close(self) -> None:
        """Flush with a checksum, and close the file."""
        self.flush()
        self._sum()
        self._file.close()

    def _write(self, content: bytes | bytearray) -> None:
        self._crc = crc32(content, self._crc)
        self._unsummed += len(content)
        self._file.write(content)
        self._file.flush()
        if self._unsummed >= SUM_EVERY:
            self._sum()

    def _sum(self) -> None:
        self._unsummed = 0
        self._write(self._encoder.encode((SUM, 0, {"crc": self._crc})))


class _HeldFile:
    """A file that keeps what was read of it, and knows its CRC-32, from any place not yet forgotten."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._held = b""
        self._crc = self._place = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        content = self._file.read(size)
        self._held += content
        return content

    def between(self, start: int, end: int) -> bytes:
        """The bytes from `start`, which may not be forgotten, to `end`."""
        return self._held[start - self._place : end - self._place]

    def through(self, place: int) -> int:
        """The CRC-32 of the bytes before `place`, which are forgotten."""
        count = place - self._place
        self._crc = crc32(self._held[:count], self._crc)
        self._held = self._held[count:]
        self._place = place
        return self._crc


class StreamReader:
    """Records of a stream one after the other, in bounded memory."""

    def __init__(self, file: BinaryIO, wanted: str, version: int) -> None:
        """`JournalError` for a file that is not of the format `wanted`, or of another version."""
        self._wanted = wanted
        self._held = _HeldFile(file)
        # Told where records end, it need not make objects of them: who reads them knows their types.
        self._unpacker = msgpack.Unpacker(self._held, read_size=READ_AHEAD)
        self.place = 0
        """Bytes from the start of the file to the end of the last whole record read."""
        header = self._header()
        if header.get("format") != wanted:
            raise JournalError(f"not a {wanted}: give a file that this program wrote")
        found = header.get("version")
        if found != version:
            cure = "check it with the claimlab that wrote it"
            raise JournalError(f"{wanted} version {found}: this program reads {version}: {cure}")
        self.header = header

    def _header(self) -> dict[str, Any]:
        first = next(self.contents(), b"\xc0")
        try:
            header = msgpack.unpackb(first)
        except (ValueError, msgpack.UnpackException):
            return {}
        return cast(dict[str, Any], header) if isinstance(header, dict) else {}

    def contents(self) -> Iterator[bytes]:
        """The bytes of each record; checksums are compared and left out. JournalError at a damaged one."""
        skip, tell, held = self._unpacker.skip, self._unpacker.tell, self._held
        start = forgotten = self.place
        try:
            while True:
                skip()
                self.place = place = tell()
                content = held.between(start, place)
                if content == _NOTHING:
                    self.place = start
                    return
                if content.startswith(_SUM_HEAD):
                    self._compare(content, start)
                    forgotten = start
                else:
                    yield content
                start = place
                if start - forgotten >= BYTES_HELD:
                    held.through(start)
                    forgotten = start
        except msgpack.OutOfData:
            return  # at the end, or in a torn record
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
            raise self.damaged(repr(error)) from error

    def damaged(self, text: str) -> JournalError:
        """What to raise for a record that cannot be read."""
        return JournalError(f"no {self._wanted}, or damaged before byte {self.place}: {text}")

    def _compare(self, content: bytes, start: int) -> None:
        record = msgpack.unpackb(content)
        if record != [SUM, 0, {"crc": self._held.through(start)}]:
            raise JournalError(
                f"the {start} bytes before it, or it, are not those that were written: {record}"
            )
