"""The built-in small worlds by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from launch.errors import UsageError
from launch.explore.small_world import SmallWorld
from launch.explore.worlds.toctou import Toctou

WORLDS: Final[Mapping[str, type[SmallWorld]]] = MappingProxyType({one.name: one for one in (Toctou,)})


def small_world(name: str, changes: Mapping[str, int]) -> SmallWorld:
    """The world of that name with its parameters changed. Raises UsageError."""
    kind = WORLDS.get(name)
    if kind is None:
        raise UsageError(f"no small world {name!r}: name one of {', '.join(WORLDS)}")
    for key in changes:
        if key not in kind.parameters:
            known = ", ".join(("release", *kind.parameters))
            raise UsageError(f"--set {key}: {name} has no such key; it has {known}")
    return kind(**changes)
