"""What is compared: every scheme at every setting of the swept parameters."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Final

from launch.errors import UsageError
from launch.results import path_name
from launch.scenario.at_once import schemes_at_once
from launch.scenario.load import Loaded, load_scenario

DOCUMENTED: Final = "documented"
OWN: Final = "scheme."
"""How the key of a scheme's own parameter begins: scheme.NAME.KEY."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """--sweep KEY=V1,V2."""

    key: str
    values: tuple[str, ...]

    def concerns(self, scheme: str) -> bool:
        """A parameter of another scheme changes nothing for this one."""
        own = tuple(f"{OWN}{one}." for one in schemes_at_once(scheme))
        return not self.key.startswith(OWN) or self.key.startswith(own)


@dataclass(frozen=True, slots=True)
class Variant:
    """One scheme at one setting."""

    scheme: str
    settings: tuple[str, ...]
    """KEY=VALUE of every sweep that concerns it."""
    loaded: Loaded

    @property
    def name(self) -> str:
        """For columns: a scheme's own parameters without the scheme."""
        return " ".join((self.scheme, *(one.removeprefix(f"{OWN}{self.scheme}.") for one in self.settings)))

    @property
    def folder(self) -> str:
        """For files."""
        return path_name("+".join((self.scheme, *self.settings)).replace("+", "__"))


def parse_sweeps(texts: Sequence[str], schemes: Sequence[str]) -> tuple[Sweep, ...]:
    """One each; `documented` is every sweep of documented.toml that concerns one of these schemes."""
    found: list[Sweep] = []
    for text in texts:
        if text == DOCUMENTED:
            found += [one for one in documented() if any(one.concerns(scheme) for scheme in schemes)]
        else:
            found.append(parse_sweep(text))
    return tuple(found)


def documented() -> Iterator[Sweep]:
    """Every scheme's choices of policy, at the values worth trying."""
    text = (resources.files("launch.compare") / "documented.toml").read_text(encoding="utf-8")
    for scheme, parameters in tomllib.loads(text).items():
        for name, values in parameters.items():
            yield Sweep(f"{OWN}{scheme}.{name}", tuple(map(_plain, values)))


def _plain(value: object) -> str:
    """As --set reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_sweep(text: str) -> Sweep:
    """UsageError for what is no KEY=V1,V2."""
    key, separator, values = text.partition("=")
    listed = tuple(value.strip() for value in values.split(","))
    if not separator or not key.strip() or not all(listed):
        raise UsageError(
            f"--sweep {text}: write KEY=VALUE,VALUE,..., such as guests.count=10,20, or {DOCUMENTED}"
        )
    return Sweep(key.strip(), tuple(dict.fromkeys(listed)))


def variants(
    scenario: str, sets: Sequence[str], seed: int | None, schemes: Sequence[str], sweeps: Sequence[Sweep]
) -> tuple[Variant, ...]:
    """All of them, scheme by scheme. ScenarioError for a setting that makes no scenario."""
    for sweep in sweeps:
        if not any(sweep.concerns(scheme) for scheme in schemes):
            text = f"--sweep {sweep.key}: a parameter of none of {', '.join(schemes)}"
            raise UsageError(f"{text}: add its scheme to --scheme")
    found: list[Variant] = []
    for scheme in schemes:
        own = [sweep for sweep in sweeps if sweep.concerns(scheme)]
        for values in itertools.product(*(sweep.values for sweep in own)):
            settings = tuple(f"{sweep.key}={value}" for sweep, value in zip(own, values, strict=True))
            found.append(Variant(scheme, settings, _load(scenario, (tuple(sets), settings), seed, scheme)))
    return tuple(found)


def _load(
    scenario: str, sets: tuple[tuple[str, ...], tuple[str, ...]], seed: int | None, scheme: str
) -> Loaded:
    given, swept = sets
    load_scenario(scenario, given, seed, [scheme])
    with said_of_the_sweep(swept):
        return load_scenario(scenario, [*given, *swept], seed, [scheme])


@contextmanager
def said_of_the_sweep(settings: Sequence[str]) -> Generator[None]:
    """A sweep's settings are made as --set makes them; what is wrong with one is said of --sweep."""
    try:
        yield
    except UsageError as error:
        raise UsageError(*(_of_sweep(line, settings) for line in error.lines)) from error


def _of_sweep(line: str, settings: Sequence[str]) -> str:
    said = line.removeprefix("--set ")
    keys = tuple(setting.partition("=")[0] for setting in settings)
    return f"--sweep {said}" if said != line and said.startswith(keys) else line
