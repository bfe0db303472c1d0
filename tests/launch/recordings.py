"""Small recordings made from real ones, for the tests of conform."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "data" / "xen-traces"

Fields = dict[str, Any]


def recorded_lines(path: Path) -> list[Fields]:
    """Every line of a gzipped recording."""
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def write_lines(path: Path, lines: list[Fields]) -> Path:
    """A plain recording of these lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def tampered(source: Path, target: Path, wanted: Callable[[Fields], bool], **changes: Any) -> Path:
    """A copy of a recording in which the first line that fits `wanted` has other fields."""
    lines = recorded_lines(source)
    next(line for line in lines if wanted(line)).update(changes)
    return write_lines(target, lines)
