"""Where the evidence about one witness lies, and what was run there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from launch.errors import UsageError
from launch.judge.cases import Case, cases
from launch.judge.evidence import EvidenceFault, folder_evidence
from launch.reproduce.cast import Scheming
from launch.results import path_name
from toolstack.interface import Scheme
from toolstack.registry import SchemeError, make_scheme

SCHEME_PLACE = 3
"""A host's folder is RUN/<scheme>/<repeat>/<host>."""


@dataclass(frozen=True, slots=True)
class HostFolder:
    """One host's."""

    path: Path
    cases: tuple[Case, ...]
    scheming: Scheming | None
    """None: no scheme of this installation did the launches, or nothing says which."""


def host_folder(path: Path) -> HostFolder:
    """Read it. UsageError for what no run wrote."""
    try:
        evidence = folder_evidence(path)
    except EvidenceFault as error:
        raise UsageError(f"{path}: not what a run leaves: {error}") from error
    return HostFolder(path, cases(evidence.orders, evidence.outcomes), _scheming(path.resolve()))


def _scheming(path: Path) -> Scheming | None:
    """By the scenario that lies beside."""
    if len(path.parents) < SCHEME_PLACE:
        return None
    try:
        scenario = json.loads((path.parents[2] / "scenario.json").read_text(encoding="utf-8"))
        name = next(one for one in scenario["schemes"] if path_name(one) == path.parents[1].name)
        parameters = cast(Mapping[str, Any], scenario.get("scheme", {}).get(name, {}))
        pages_per_second = float(scenario["toolstack"]["pages_per_second"])
        make_scheme(name, parameters)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration, SchemeError):
        return None
    return Scheming(name, _maker(name, parameters), pages_per_second)


def _maker(name: str, parameters: Mapping[str, Any]) -> Callable[[], Scheme]:
    return lambda: make_scheme(name, parameters)
