"""What the command line of `claimlab explore` says, made into a search."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hypervisor.core.releases import DEFAULT_RELEASE, RELEASES, Release
from launch.errors import UsageError
from launch.explore.blueprint import Blueprint, blueprint
from launch.explore.catalogue import WORLDS, small_world
from launch.explore.exhaustive import ExhaustiveScheduler
from launch.explore.programs import TooSmallError
from launch.explore.schedule import Kept, read
from launch.explore.schedulers import PctScheduler, RandomScheduler, ReplayScheduler, Scheduler
from launch.explore.search import Budget
from launch.explore.small_world import Setting, SmallWorld
from launch.scenario.at_once import schemes_at_once
from toolstack.interface import Scheme
from toolstack.registry import SchemeError, make_scheme, objection, scheme_class

SCHEDULERS: Final = ("exhaustive", "pct", "random", "replay")
_BUDGET: Final = re.compile(r"(\d+)(s?)\Z")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A scheduler."""

    name: str
    """With its parameters."""
    scheduler: Scheduler
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A world as the user wants it."""

    world: SmallWorld
    release: Release
    scheme: str | None
    parameters: Mapping[str, str | int]
    """Of the scheme."""
    changes: tuple[str, ...]

    def blueprint(self) -> Blueprint:
        """Its set-up, done. Raises UsageError when it cannot be."""
        try:
            return blueprint(self.world, Setting(self.release, self._new_scheme()))
        except TooSmallError:
            asked_for = " ".join(f"--set {one}" for one in self.changes)
            raise UsageError(
                f"{asked_for}: {self.world.name}'s host is too small for that: ask for less"
            ) from None

    def _new_scheme(self) -> Callable[[], Scheme]:
        if self.scheme is None:
            return _no_scheme
        kind = scheme_class(self.scheme)
        return lambda: kind(self.parameters)

    def command(self, schedule: str) -> str:
        """The command line that replays a schedule."""
        parts = ["claimlab", "explore", self.world.name]
        if self.scheme is not None:
            parts += ["--scheme", self.scheme]
        for change in self.changes:
            parts += ["--set", change]
        return " ".join([*parts, "--schedule", schedule])


def _no_scheme() -> Scheme:
    raise AssertionError("this world has no toolstack with a scheme")


def asked(name: str, scheme: str | None, changes: Sequence[str]) -> Asked:
    """The world of that name under these changes. Raises UsageError."""
    release, numbers, parameters = DEFAULT_RELEASE, dict[str, int](), dict[str, str | int]()
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UsageError(f"--set {change}: write KEY=VALUE, release=4.22 for example")
        if key == "release":
            release = value
        elif key.startswith("scheme."):
            parameters[key.removeprefix("scheme.")] = int(value) if value.isdigit() else value
        else:
            numbers[key] = _number(key, value)
    if release not in RELEASES:
        raise UsageError(f"--set release={release}: use one of {', '.join(RELEASES)}")
    world = small_world(name, numbers)
    if (scheme is not None or parameters) and world.scheme is None:
        with_one = ", ".join(one for one, kind in WORLDS.items() if kind.scheme is not None)
        raise UsageError(f"--scheme: {name} has no toolstack with a scheme; explore one of {with_one}")
    chosen = scheme or world.scheme
    if chosen is not None:
        _check_scheme(chosen, parameters, release)
    return Asked(world, RELEASES[release], chosen, parameters, tuple(changes))


def _number(key: str, value: str) -> int:
    if not value.isdigit():
        raise UsageError(f"--set {key}={value}: give a whole number")
    return int(value)


def _check_scheme(name: str, parameters: Mapping[str, str | int], release: str) -> None:
    if len(schemes_at_once(name)) > 1:
        shared = "toolstacks of a small world share one scheme: name one (claimlab simulate runs several)"
        raise UsageError(f"--scheme {name}: {shared}")
    try:
        text = objection(make_scheme(name, parameters), release)
    except SchemeError as error:
        raise UsageError(f"--scheme: {error}") from None
    if text is not None:
        raise UsageError(f"--scheme {name} on {release}: {text}")


def read_budget(text: str) -> Budget:
    """Schedules ("5000") or seconds ("30s"). Raises UsageError."""
    match = _BUDGET.match(text)
    if match is None or not int(match[1]):
        raise UsageError(f"--budget {text}: give a number of schedules, 5000 say, or seconds, 30s say")
    number = int(match[1])
    return Budget(seconds=float(number)) if match[2] else Budget(schedules=number)


def choose_scheduler(name: str | None, seed: int, depth: int, schedule: str | None) -> Chosen:
    """The one asked for; a schedule asks for replay. Raises UsageError."""
    chosen = name or ("replay" if schedule is not None else "exhaustive")
    if chosen == "replay":
        if schedule is None:
            raise UsageError("--scheduler replay: name what to replay with --schedule a3.b.a2")
        turns, kept = read(schedule)
        return Chosen(f"replay of {schedule}", ReplayScheduler(turns), kept)
    if schedule is not None:
        raise UsageError(f"--schedule: leave --scheduler {chosen} out, a schedule is replayed")
    if chosen == "pct":
        return Chosen(f"pct of depth {depth}, seed {seed}", PctScheduler(seed, depth))
    if chosen == "random":
        return Chosen(f"random, seed {seed}", RandomScheduler(seed))
    if chosen == "exhaustive":
        return Chosen("exhaustive", ExhaustiveScheduler())
    raise UsageError(f"--scheduler {chosen}: use one of {', '.join(SCHEDULERS)}")
