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
    """None: no scheme of this installation did the launches, or nothing says which, or it may not be had."""
    not_asked_for: str = ""
    """The scheme that would have to be imported, and that nobody has named; "" for none."""


def host_folder(path: Path, scheme: str | None = None) -> HostFolder:
    """Read it. UsageError for what no run wrote.

    A run may be somebody else's. So no file in it is followed to another place, and of a scheme of the form
    module:Class nothing is imported unless `scheme` names it.
    """
    _refuse_links(path)
    try:
        evidence = folder_evidence(path)
    except EvidenceFault as error:
        raise UsageError(f"{path}: not what a run leaves: {error}") from error
    place = path.resolve()
    found = _scheme_of(place)
    if found is None:
        return HostFolder(path, cases(evidence.orders, evidence.outcomes), None)
    name, scenario = found
    if ":" in name and name != scheme:
        return HostFolder(path, cases(evidence.orders, evidence.outcomes), None, name)
    return HostFolder(path, cases(evidence.orders, evidence.outcomes), _scheming(name, scenario))


def host_in(run: Path, name: str) -> Path:
    """A host's folder by its name in a file, which may be anybody's. UsageError for one outside the run."""
    place = Path(name)
    if place.is_absolute() or ".." in place.parts:
        raise UsageError(f"{name}: no host of {run}: a host is named by its place within the run")
    for part in (*reversed(place.parents), place):
        if part.parts:
            _refuse_link(run / part)
    return run / place


def _refuse_links(folder: Path) -> None:
    for one in folder.rglob("*"):
        _refuse_link(one)


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise UsageError(f"{path}: a symbolic link, which no run leaves: copy the run with what it points to")


def _scheme_of(path: Path) -> tuple[str, Mapping[str, Any]] | None:
    """Its name and the scenario that lies beside; None when nothing tells."""
    if len(path.parents) < SCHEME_PLACE:
        return None
    file = path.parents[2] / "scenario.json"
    _refuse_link(file)
    try:
        scenario = json.loads(file.read_text(encoding="utf-8"))
        name = next(one for one in scenario["schemes"] if path_name(one) == path.parents[1].name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None
    return str(name), scenario


def _scheming(name: str, scenario: Mapping[str, Any]) -> Scheming | None:
    try:
        parameters = cast(Mapping[str, Any], scenario.get("scheme", {}).get(name, {}))
        pages_per_second = float(scenario["toolstack"]["pages_per_second"])
        make_scheme(name, parameters)
    except (ValueError, LookupError, TypeError, AttributeError, SchemeError):
        return None
    return Scheming(name, _maker(name, parameters), pages_per_second)


def _maker(name: str, parameters: Mapping[str, Any]) -> Callable[[], Scheme]:
    return lambda: make_scheme(name, parameters)
