"""Reads recordings, plain or gzipped, and says in one line why a file is none."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from launch.conform.recording import REMARKS, TMEM_OPS, Header, Line, Recording
from launch.errors import UsageError, one_line

KNOWN_OPS: Final = (
    REMARKS
    | TMEM_OPS
    | {
        "create",
        "destroy",
        "maxmem",
        "maxpages",
        "claim",
        "populate",
        "increase",
        "populate_exact",
        "decrease",
        "exchange",
        "raw_claim",
        "raw_mem",
        "raw_query",
        "curres",
        "maxres",
        "mempool",
        "map",
        "unmap",
    }
)

MAX_LINE_BYTES: Final = 16 << 20
"""A recording's longest lines have about a thousand bytes; what has no line breaks at all need not end."""

NO_RECORDING: Final = "this is no recording in the format memprobe-1"
RACE: Final = "a race recording counts what two racing threads saw and lists no operations; leave it out"


class RefusedRecordingError(UsageError):
    """A file that cannot be replayed: one line that names it and says why."""


class _Kind(Struct):
    """What tells the kinds of lines apart."""

    header: bool = False
    footer: bool = False
    race: str = ""
    op: str = ""
    ops: int = 0


_T = TypeVar("_T")
_KIND: Final = msgspec.json.Decoder(_Kind)
_HEADER: Final = msgspec.json.Decoder(Header)
_LINE: Final = msgspec.json.Decoder(Line)


def find_recordings(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and of a folder its *.jsonl and *.jsonl.gz, by name.

    Raises `UsageError` for a path that does not exist and for a folder without recordings.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise UsageError(f"{path}: no such file; name a recording (.jsonl or .jsonl.gz) or a folder")
            found.append(path)
            continue
        inside = sorted(p for p in path.iterdir() if p.name.endswith((".jsonl", ".jsonl.gz")))
        if not inside:
            raise UsageError(f"{path}: holds no *.jsonl or *.jsonl.gz; name a folder of recordings")
        found += inside
    return found


def read_recording(path: Path) -> Recording:
    """The whole file. Raises `RefusedRecordingError` with one line when it cannot be replayed."""
    lines = enumerate(_text_lines(path), 1)
    header = _read_header(path, lines)
    operations: list[Line] = []
    for number, text in lines:
        kind = _decode(_KIND, path, number, text)
        if kind.footer:
            if kind.ops != len(operations):
                raise _refused(path, f"the footer counts {kind.ops} operations, the file {len(operations)}")
            return Recording(str(path), header, tuple(operations))
        _check_kind(path, number, kind)
        operations.append(_decode(_LINE, path, number, text))
    raise _refused(path, f"cut short after {len(operations)} operations (no footer): copy it again")


def _read_header(path: Path, lines: Iterator[tuple[int, bytes]]) -> Header:
    number, text = next(lines, (1, b""))
    if not text.strip():
        raise _refused(path, "empty; give a recording in the format memprobe-1")
    if not _decode(_KIND, path, number, text).header:
        raise _refused(path, f"the first line is no header: {NO_RECORDING}")
    return _decode(_HEADER, path, number, text, RACE if b'"script":"race' in text else "")


def _check_kind(path: Path, number: int, kind: _Kind) -> None:
    if kind.race:
        raise _refused(path, RACE)
    if kind.op not in KNOWN_OPS:
        raise _refused(path, f"line {number}: unknown operation {kind.op!r}; a newer claimlab may know it")


def _text_lines(path: Path) -> Iterator[bytes]:
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES + 1), b""), 1):
                if len(line) > MAX_LINE_BYTES:
                    raise _refused(path, f"line {number} is over {MAX_LINE_BYTES >> 20} MiB: {NO_RECORDING}")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise _refused(path, f"cannot be read ({error}); check the path and copy the file again") from error


def _decode(decoder: msgspec.json.Decoder[_T], path: Path, number: int, text: bytes, instead: str = "") -> _T:
    """One line as data; `instead` is what to say when it does not fit, if not the decoder's own words."""
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(path, instead or f"line {number} is no line of a recording: {error}") from error


def _refused(path: Path, *why: str) -> RefusedRecordingError:
    return RefusedRecordingError(one_line((f"{path}:", *why)))
