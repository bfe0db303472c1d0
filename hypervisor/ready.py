"""Files by which a process tells others how far it is: absent, or whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


def announce(path: Path | None, release: str, endpoints: Mapping[str, str]) -> None:
    """Tell that clients can connect, and where."""
    if path is not None:
        write_json(path, {"pid": os.getpid(), "release": release, "endpoints": dict(endpoints)})


def write_json(path: Path, content: object) -> None:
    """Write a file that is either absent or whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
