"""From a name or path and the command line's changes to a scenario that can be run, or one line a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from launch.errors import ScenarioError
from launch.scenario.complaints import CommandLine, Fault, faults, locate
from launch.scenario.document import Source, apply_set, parse, read_source, set_path
from launch.scenario.hosts import lay_over
from launch.scenario.impossible import impossible
from launch.scenario.models import Scenario
from launch.scenario.plain import Document, is_array, is_table

_OPTIONS = MappingProxyType({"seed": "--seed", "schemes": "--scheme"})
_TRACES = (("guests", "trace"), ("arrivals", "trace"))


@dataclass(frozen=True)
class Loaded:
    """A scenario with the text it came from and the assignments made to it: later complaints point there."""

    scenario: Scenario
    source: Source
    command_line: CommandLine

    def error(self, *found: Fault) -> ScenarioError:
        """A complaint about keys of this scenario, found after it was loaded."""
        return _error([self._with_its_origin(fault) for fault in found], self.source, self.command_line)

    def _with_its_origin(self, fault: Fault) -> Fault:
        """A scheme without a table [scheme.NAME] can be blamed only on who named it: `schemes`, --scheme."""
        if fault.key[0] == "scheme" and fault.key[1] not in self.scenario.scheme:
            return Fault(("schemes",), fault.text)
        return fault


def load_scenario(
    name_or_path: str | Path,
    sets: Sequence[str] = (),
    seed: int | None = None,
    schemes: Sequence[str] | None = None,
) -> Loaded:
    """Read, change and check a scenario. `seed` and `schemes` are the options of that name, and win.

    A trace path in a file is relative to the file's folder, in --set to the working directory. ScenarioError
    (UsageError for a malformed --set) with one line a fault: file, line, key, cure. Traces are not looked at.
    """
    source = read_source(name_or_path)
    document = _traces_beside(source, parse(source))
    document = apply_set({"name": source.stem, **document}, sets)
    given = {"seed": seed, "schemes": None if schemes is None else list(schemes)}
    document.update({key: value for key, value in given.items() if value is not None})
    command_line = CommandLine(
        sets=tuple(set_path(assignment)[0] for assignment in sets),
        options={key: _OPTIONS[key] for key, value in given.items() if value is not None},
    )
    return Loaded(_validated(document, source, command_line), source, command_line)


def load_document(name: str, document: Document, sets: Sequence[str] = ()) -> Loaded:
    """A scenario that stands in another document, with changes in the manner of --set. ScenarioError."""
    source = Source(f"{name}.json", "", None)
    command_line = CommandLine(sets=tuple(set_path(assignment)[0] for assignment in sets))
    changed = apply_set({"name": source.stem, **document}, sets)
    return Loaded(_validated(changed, source, command_line), source, command_line)


def _traces_beside(source: Source, document: Document) -> Document:
    """Trace paths of a file made relative to where claimlab runs; a recorded scenario (.json) has them so."""
    if source.folder is None or source.name.endswith(".json"):
        return document
    hosts = document.get("hosts")
    own = [one.get("guests") for one in hosts if is_table(one)] if is_array(hosts) else []
    tables = [(document.get(section), key) for section, key in _TRACES]
    for table, key in [*tables, *((one, "trace") for one in own)]:
        if is_table(table) and isinstance(table.get(key), str):
            table[key] = str(source.folder / table[key])
    return document


def _validated(document: Mapping[str, Any], source: Source, command_line: CommandLine) -> Scenario:
    merged, found = lay_over(document)
    if found:
        raise _error(found, source, command_line)
    try:
        scenario = Scenario.model_validate(merged)
    except ValidationError as error:
        raise _error(faults(error, merged), source, command_line) from error
    found = list(impossible(scenario))
    if found:
        raise _error(found, source, command_line)
    return scenario


def _error(found: Sequence[Fault], source: Source, command_line: CommandLine) -> ScenarioError:
    return ScenarioError(*(locate(fault, source, command_line) for fault in found))
