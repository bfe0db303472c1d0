"""What is compared: every scheme at every setting of the swept parameters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from launch.errors import UsageError
from launch.results import path_name
from launch.scenario.at_once import schemes_at_once
from launch.scenario.load import Loaded, load_scenario

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


def parse_sweep(text: str) -> Sweep:
    """UsageError for what is no KEY=V1,V2."""
    key, separator, values = text.partition("=")
    listed = tuple(value.strip() for value in values.split(","))
    if not separator or not key.strip() or not all(listed):
        raise UsageError(f"--sweep {text}: write KEY=VALUE,VALUE,..., such as guests.count=10,20")
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
            loaded = load_scenario(scenario, [*sets, *settings], seed, [scheme])
            found.append(Variant(scheme, settings, loaded))
    return tuple(found)
