"""The folder of a comparison: made once, picked up again, refused when the scenario is another one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from launch.build import build
from launch.errors import UsageError
from launch.results import RUNS, resolved
from launch.scenario.load import Loaded

HEADER: Final = "comparison-of.json"
FREE: Final = ("schemes", "repeats")
"""What may differ when a comparison is picked up: more columns, more repeats."""
_DERIVED: Final = MappingProxyType({"scenario_sha256": ""})
"""For readers; a difference is told by the key that differs."""


def open_comparison(loaded: Loaded, out: Path | None, real: bool) -> Path:
    """The folder, made or found. UsageError when it holds something else, or another scenario's cells."""
    scenario = loaded.scenario
    kind = "real" if real else "virtual"
    path = RUNS / f"compare-{scenario.name}-{kind}-{scenario.seed}" if out is None else out
    settled = {key: value for key, value in json.loads(resolved(loaded)).items() if key not in FREE}
    digest = sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()
    header = {"kind": kind, "claimlab": build(), "scenario_sha256": digest, **settled}
    file = path / HEADER
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            if any(path.iterdir()):
                raise UsageError(f"{path}: not empty, and no comparison: choose another folder with --out")
            file.write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
            return path
        before = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}: choose another folder with --out") from error
    except ValueError as error:
        raise UsageError(f"{file}: no comparison's: {error}: choose another folder with --out") from error
    cure = "choose another folder with --out, or remove this one"
    known: dict[str, Any] = cast(dict[str, Any], before) if isinstance(before, dict) else {}
    if known.get("claimlab") != header["claimlab"]:
        was = known.get("claimlab") or "unknown"
        text = f"begun by another version of claimlab ({was}; this is {header['claimlab']})"
        raise UsageError(f"{path}: {text}: {cure}")
    changed = next(_differences({**known, **_DERIVED}, {**header, **_DERIVED}, ""), None)
    if changed is not None:
        raise UsageError(f"{path}: begun with another scenario ({changed}): {cure}")
    return path


def _differences(before: object, now: object, key: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        left, right = cast(Mapping[str, Any], before), cast(Mapping[str, Any], now)
        for name in sorted({*left, *right}):
            yield from _differences(left.get(name), right.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield f"{key} was {json.dumps(before)}, is {json.dumps(now)}"
