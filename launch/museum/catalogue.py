"""All exhibits, by name: what exhibits.toml tells of each, and its two sides."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from launch.errors import UsageError
from launch.museum.exhibit import Exhibit
from launch.museum.sides import SIDES


def _exhibit(name: str, told: dict[str, Any]) -> Exhibit:
    on, off = SIDES[name]
    told["history"] = " ".join(told["history"].split())
    return Exhibit(name=name, on=on, off=off, **told)


def _read() -> Mapping[str, Exhibit]:
    text = resources.files("launch").joinpath("museum", "exhibits.toml").read_text("utf-8")
    return MappingProxyType({name: _exhibit(name, told) for name, told in tomllib.loads(text).items()})


EXHIBITS: Final = _read()


def chosen(names: Sequence[str]) -> tuple[Exhibit, ...]:
    """Those of these names, all when none is given. Raises UsageError."""
    for name in names:
        if name not in EXHIBITS:
            raise UsageError(f"no exhibit {name!r}: name one of {', '.join(EXHIBITS)}")
    return tuple(EXHIBITS[name] for name in names) if names else tuple(EXHIBITS.values())
