"""All exhibits, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from launch.errors import UsageError
from launch.museum.exhibit import Exhibit
from launch.museum.exhibits.builders import BUILDERS
from launch.museum.exhibits.daemons import DAEMONS
from launch.museum.exhibits.hypervisor import HYPERVISOR

EXHIBITS: Final[Mapping[str, Exhibit]] = MappingProxyType(
    {one.name: one for one in (*HYPERVISOR, *BUILDERS, *DAEMONS)}
)


def chosen(names: Sequence[str]) -> tuple[Exhibit, ...]:
    """Those of these names, all when none is given. Raises UsageError."""
    for name in names:
        if name not in EXHIBITS:
            raise UsageError(f"no exhibit {name!r}: name one of {', '.join(EXHIBITS)}")
    return tuple(EXHIBITS[name] for name in names) if names else tuple(EXHIBITS.values())
