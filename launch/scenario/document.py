"""A scenario as plain tables: read from TOML (or an earlier run's JSON), changed by --set, unchecked."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

from launch.errors import ScenarioError, UsageError, one_line
from launch.scenario.plain import Document, is_array, is_table
from launch.scenario.suggestions import did_you_mean

KeyPath: TypeAlias = tuple[str, ...]

SUFFIX = ".toml"


@dataclass(frozen=True)
class Source:
    """The text of a scenario and where it came from; `folder` is None for a built-in one."""

    name: str
    text: str
    folder: Path | None

    @property
    def stem(self) -> str:
        """The name without folder and suffix, fit to be the name of a scenario."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(self.name).stem).lstrip("._-") or "scenario"


def built_in_names() -> tuple[str, ...]:
    """The scenarios that come with claimlab, sorted."""
    folder = resources.files("launch").joinpath("scenarios")
    return tuple(sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(SUFFIX)))


def read_source(name_or_path: str | Path) -> Source:
    """A file if it is one, else the built-in scenario of that name; ScenarioError when it is neither."""
    path = Path(name_or_path)
    if path.is_file():
        return Source(str(path), _read_text(path), path.parent)
    if str(name_or_path) in built_in_names():
        file = resources.files("launch").joinpath("scenarios", f"{name_or_path}{SUFFIX}")
        return Source(f"{name_or_path}{SUFFIX}", file.read_text(encoding="utf-8"), None)
    raise ScenarioError(
        f"{name_or_path}: no such scenario file{did_you_mean(str(name_or_path), built_in_names())}: "
        f"name a {SUFFIX} file or a built-in scenario ({', '.join(built_in_names())})"
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text ({error.reason}): name a {SUFFIX} file") from error
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}: name a readable {SUFFIX} file") from error


def parse(source: Source) -> Document:
    """The tables of a source; ScenarioError with the line for text that is no TOML."""
    try:
        if source.name.endswith(".json"):
            return _table(source, json.loads(source.text))
        return tomllib.loads(source.text)
    except json.JSONDecodeError as error:
        raise ScenarioError(
            f"{source.name}:{error.lineno}: not JSON ({error.msg}): repair the line"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(_not_toml(source, str(error))) from error


def _table(source: Source, value: object) -> Document:
    if not is_table(value):
        raise ScenarioError(f"{source.name}: no table at the top: name a scenario file")
    return value


def _not_toml(source: Source, complaint: str) -> str:
    """tomllib ends its message with "(at line 3, column 7)" or "(at end of document)"."""
    text, _, place = complaint.partition(" (at ")
    line = place.removeprefix("line ").partition(",")[0]
    where = f"{source.name}:{line}" if line.isdecimal() else source.name
    return one_line(
        [f"{where}: not TOML ({text[:1].lower()}{text[1:]}): repair the line, text goes in quotes"]
    )


def set_path(assignment: str) -> tuple[KeyPath, Any]:
    """`guests.count=40` as its key and value. A value that is no TOML is text: `name=demo`."""
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {assignment}: write KEY=VALUE, guests.count=40 for example")
    return _key_path(key, assignment), _value(text.strip())


def _key_path(key: str, assignment: str) -> KeyPath:
    """TOML's own reader takes the key apart, so that scheme."module:Class".cut works as in a file."""
    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        raise UsageError(
            f"--set {assignment}: {key!r} is no dotted key; write guests.count for example"
        ) from None
    path: list[str] = []
    while is_table(table):
        ((name, table),) = table.items()
        path.append(name)
    return tuple(path)


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def apply_set(document: Mapping[str, Any], assignments: Iterable[str]) -> Document:
    """A copy of `document` with the assignments made in their order. Items of a list go by number from 0."""
    changed = deepcopy(dict(document))
    for assignment in assignments:
        path, value = set_path(assignment)
        _assign(changed, path, value, assignment)
    return changed


def _assign(document: Document, path: KeyPath, value: Any, assignment: str) -> None:
    place: Any = document
    for depth, key in enumerate(path[:-1], 1):
        place = _descend(place, key, path[:depth], assignment)
    if is_array(place):
        place[_number(path[-1], place, path, assignment)] = value
    else:
        place[path[-1]] = value


def _descend(place: Any, key: str, so_far: KeyPath, assignment: str) -> Any:
    listed = is_array(place)
    inner = place[_number(key, place, so_far, assignment)] if listed else place.setdefault(key, {})
    if not (is_table(inner) or is_array(inner)):
        dotted = ".".join(so_far)
        raise UsageError(f"--set {assignment}: {dotted} is a value, not a table: end the key there")
    return inner


def _number(key: str, items: Sequence[Any], so_far: KeyPath, assignment: str) -> int:
    if not key.isdecimal() or int(key) >= len(items):
        listed = ".".join(so_far[:-1])
        numbers = f"number them 0 to {len(items) - 1}" if items else "set the whole list"
        raise UsageError(f"--set {assignment}: {listed} is a list of {len(items)} items: {numbers}")
    return int(key)
