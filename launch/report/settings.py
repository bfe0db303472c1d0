"""In what the scenarios of two runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from launch.report.folder import RunFolder


def settings_changed(first: RunFolder, second: RunFolder) -> tuple[tuple[str, str, str], ...]:
    """Key, value in the first run, value in the second, of every key that differs."""
    return tuple(_changed(first.scenario, second.scenario, ""))


def _changed(first: object, second: object, key: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(first, dict) and isinstance(second, dict):
        left, right = cast(Mapping[str, object], first), cast(Mapping[str, object], second)
        for name in sorted({*left, *right}):
            yield from _changed(left.get(name), right.get(name), f"{key}.{name}" if key else name)
    elif first != second:
        yield key, _text(cast(Any, first)), _text(cast(Any, second))


def _text(value: Any) -> str:
    return "absent" if value is None else json.dumps(value)
