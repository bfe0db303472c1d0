"""Streaming read of delimited text, plain or gzipped, by column name."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from guests.traces.errors import TraceError


@contextmanager
def open_text(path: Path) -> Generator[TextIO]:
    """The text of a file, gunzipped when named .gz; what goes wrong while reading becomes TraceError."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
                yield text
        else:
            with path.open(encoding="utf-8", newline="") as text:
                yield text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path}: damaged or cut-off gzip ({error}): fetch the file again") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not text: name a .csv or .csv.gz file") from error
    except csv.Error as error:
        raise TraceError(f"{path}: not a table of text ({error}): name a .csv or .csv.gz file") from error
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}: name a readable file") from error


def read_header(path: Path, delimiter: str) -> tuple[str, ...]:
    """The column names of the first line; empty for an empty file."""
    with open_text(path) as text:
        return tuple(name.strip() for name in next(csv.reader(text, delimiter=delimiter), ()))


@dataclass(frozen=True, slots=True)
class Row:
    """The wanted columns of one line, in the order they were asked for."""

    path: Path
    line: int
    columns: tuple[str, ...]
    fields: tuple[str, ...]

    def number(self, index: int) -> float:
        """The `index`-th wanted column; TraceError when it is not a finite number of 0 or more."""
        try:
            value = float(self.fields[index])
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise TraceError(
                f"{self.path}:{self.line}: {self.columns[index]} is {self.fields[index]!r}, "
                "not a number of 0 or more: repair or remove the line"
            )
        return value


def read_rows(path: Path, wanted: tuple[str, ...], delimiter: str, publisher: str) -> Iterator[Row]:
    """Yield every non-empty line's wanted columns; TraceError for a missing column or a short line.

    `publisher` says in errors which format the columns belong to.
    """
    with open_text(path) as text:
        lines = csv.reader(text, delimiter=delimiter)
        places = _places(path, tuple(name.strip() for name in next(lines, ())), wanted, publisher)
        for fields in lines:
            if fields:
                yield Row(path, lines.line_num, wanted, _pick(path, lines.line_num, fields, places))


def _places(path: Path, header: tuple[str, ...], wanted: tuple[str, ...], publisher: str) -> list[int]:
    missing = [name for name in wanted if name not in header]
    if missing:
        raise TraceError(
            f"{path}: column {', '.join(map(repr, missing))} is missing: "
            f"bring the file with all columns of {publisher}"
        )
    return [header.index(name) for name in wanted]


def _pick(path: Path, line: int, fields: list[str], places: list[int]) -> tuple[str, ...]:
    if len(fields) <= max(places):
        raise TraceError(
            f"{path}:{line}: the line has {len(fields)} fields, too few: "
            "fetch the file again or remove the line"
        )
    return tuple(fields[place].strip() for place in places)
