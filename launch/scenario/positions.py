"""The line on which a key of a TOML file stands. tomllib tells lines of syntax errors only."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from launch.scenario.plain import Path, is_table

# Strings before comments: a "#" inside a string begins no comment.
_STRING_OR_COMMENT: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""|' r"'''.*?'''|" r'"(?:\\.|[^"\\\n])*"|' r"'[^'\n]*'|" r"#[^\n]*", re.DOTALL
)
_HEADER: Final = re.compile(r"\s*\[\[?(?P<key>[^\[\]=]+)\]\]?\s*(#.*)?")
_KEY: Final = r"(?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*')"
_ASSIGNMENT: Final = re.compile(rf"\s*(?P<key>{_KEY}(?:\s*\.\s*{_KEY})*)\s*=")


def find(text: str, path: Sequence[str | int]) -> tuple[int | None, int]:
    """The line (from 1) of the longest part of `path` that the text holds, and the length of that part."""
    lines = dict(_lines(text))
    for length in range(len(path), 0, -1):
        line = lines.get(tuple(path[:length]))
        if line is not None:
            return _inside(text, line, path[length:]), length
    return None, 0


def _lines(text: str) -> Iterator[tuple[Path, int]]:
    """Every key of the text with its line; an array of tables counts its headers."""
    table: Path = ()
    seen: dict[Path, int] = {}
    depth = 0
    # By "\n" alone, as an editor counts: splitlines() would also break at characters that comments may hold.
    masked = _masked(text).split("\n")
    for number, (line, mask) in enumerate(zip(text.split("\n"), masked, strict=True), 1):
        if depth == 0:
            header, assignment = _HEADER.fullmatch(line), _ASSIGNMENT.match(line)
            if header:
                table = _enter(_split(header["key"]), line.lstrip().startswith("[["), seen)
                yield table, number
            elif assignment:
                key = (*table, *_split(assignment["key"]))
                yield from ((key[:end], number) for end in range(len(table) + 1, len(key) + 1))
        if not _HEADER.fullmatch(line) or depth:
            depth = max(0, depth + sum(mask.count(c) for c in "[{") - sum(mask.count(c) for c in "]}"))


def _enter(key: Path, many: bool, seen: dict[Path, int]) -> Path:
    """The path of a header, with the number of the present item after the key of an array of tables."""
    path: Path = ()
    for part in key[:-1]:
        path = (*path, part)
        if path in seen:
            path = (*path, seen[path])
    path = (*path, key[-1])
    if not many:
        return path
    seen[path] = seen.get(path, -1) + 1
    return (*path, seen[path])


def _split(key: str) -> Path:
    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return (key.strip(),)
    parts: list[str] = []
    while is_table(table):
        ((name, table),) = table.items()
        parts.append(name)
    return tuple(parts)


def _masked(text: str) -> str:
    """The text with strings and comments blanked, line breaks kept."""
    return _STRING_OR_COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def _inside(text: str, line: int, rest: Sequence[str | int]) -> int:
    """The line of an inline table of an array that begins on `line`, and of a key in it."""
    if not rest or not isinstance(rest[0], int):
        return line
    tail = "\n".join(_masked(text).split("\n")[line - 1 :])
    tables = list(re.finditer(r"\{[^{}]*\}", tail))
    if rest[0] >= len(tables):
        return line
    table = tables[rest[0]]
    key = re.search(rf"\b{re.escape(str(rest[1]))}\s*=", table[0]) if len(rest) > 1 else None
    return line + tail.count("\n", 0, table.start() + (key.start() if key else 0))
