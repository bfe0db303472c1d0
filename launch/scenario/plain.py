"""Tables and arrays as TOML and JSON hold them, before anything is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

Document: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]
"""Keys, and numbers of items, from the top of a document to a value."""


def is_table(value: object) -> TypeGuard[Document]:
    """Keys of TOML and JSON are text, so a dict is enough of a test."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Items may be anything."""
    return isinstance(value, list)


def has(place: object, part: str | int) -> bool:
    """True when `part` leads on from `place`."""
    if is_table(place):
        return part in place
    return is_array(place) and isinstance(part, int) and 0 <= part < len(place)


def value_at(document: object, path: Sequence[str | int]) -> Any:
    """What stands at `path`, None where nothing does."""
    place: Any = document
    for part in path:
        if not has(place, part):
            return None
        place = place[part]
    return place
