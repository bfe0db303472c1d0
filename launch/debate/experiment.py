"""An experiment: a hypothesis of the debate as a file, or as a file with a function behind it.

launch/debate/experiments/h01.toml and its neighbours. A scenario is run at every point of a sweep with every
arm and seed; a question about one figure is then answered at every point. `set` lists read like --set.

    id = "H1"
    title = "One domain that grew sinks a claim that fits"
    by = "Magenheimer"            # who made the claim
    x = "guests"                  # what the sweep varies
    seeds = 20

    [question]
    figure = "false_refusals"     # launch.debate.figures
    per = "fitted"                # divided by that one
    arms = ["clamp", "claim"]     # the first less the second, seed by seed; one arm alone: its own value
    above = 0.05                  # the claim holds at a point where the whole interval lies above
    reason = "one launch in 20"   # why that threshold decides the claim

    [jitter]                      # what a seed moves that the scenario fixes: launch.debate.jitter
    arrivals = 0.5

    [arms.clamp]
    scheme = "clamp"
    [arms.claim]
    scheme = "claim"

    [[points]]
    x = 10
    set = ["guests.count=10"]

    [control]
    about = "guests that stand still"
    set = ["guests.workload=[]"]
    verdict = "does not hold"     # must differ from the experiment's own

    [scenario]                    # a whole scenario
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from enum import StrEnum
from importlib import resources
from string import ascii_lowercase
from typing import Any, Final

import msgspec
from msgspec import Struct

from launch.errors import UsageError

FOLDER: Final = "experiments"


class Kind(StrEnum):
    """How the figures of the points come to a verdict."""

    EACH = "each"  # every point is held against the threshold; a change along the sweep is a boundary
    GROWS = "grows"  # the slope over the sweep is held against the threshold
    ZERO = "zero"  # no run at any point may have another value than 0


class Verdict(StrEnum):
    """What came of a hypothesis."""

    HOLDS = "holds"
    FAILS = "does not hold"
    BEYOND = "holds beyond a boundary"
    BELOW = "holds up to a boundary"
    UNKNOWN = "unknown"


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """What decides."""

    figure: str
    arms: tuple[str, ...]
    reason: str
    """Why the threshold decides the claim."""
    per: str = ""
    kind: Kind = Kind.EACH
    above: float | None = None
    below: float | None = None


class Jitter(Struct, frozen=True, forbid_unknown_fields=True):
    """What nobody could know beforehand, and a scenario of fixed moments and phases leaves out."""

    arrivals: float = 0.0  # emulated seconds: each launch comes up to that much later
    turn: bool = False  # the phases of all guests are turned by one and the same part of a period
    phases: float = 0.0  # periods: and each by up to that much more


class Premise(Struct, frozen=True, forbid_unknown_fields=True):
    """What must be so in every run of an arm (the control's aside), or the question asked is another one."""

    arm: str
    figure: str
    equals: float
    per: str = ""


class Arm(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to do it."""

    scheme: str
    set: tuple[str, ...] = ()
    second: str = ""  # the scheme of every second toolstack, where toolstack.count is above 1


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    """One place in the sweep."""

    x: float
    set: tuple[str, ...] = ()
    quick: bool = True  # also part of --quick


class Control(Struct, frozen=True, forbid_unknown_fields=True):
    """The same question where the answer must be another one."""

    about: str
    verdict: Verdict
    set: tuple[str, ...] = ()
    points: tuple[float, ...] = ()  # the x of those that it needs; none: all


class Real(Struct, frozen=True, forbid_unknown_fields=True):
    """Points confirmed by real processes, one run at a time."""

    points: tuple[Point, ...]
    """`set` comes last of all; `quick` says nothing here."""
    set: tuple[str, ...] = ()
    seeds: int = 3
    scale: float | None = None  # shortest time that matters, emulated seconds; None: launch.trust.time_scale


class Experiment(Struct, frozen=True, forbid_unknown_fields=True):
    """One hypothesis."""

    id: str
    title: str
    by: str
    x: str
    question: Question
    points: tuple[Point, ...]
    control: Control
    scenario: dict[str, Any] = {}
    arms: dict[str, Arm] = {}
    seeds: int = 20
    quick_seeds: int = 6
    jitter: Jitter = Jitter()
    premise: Premise | None = None
    measure: str = ""  # "module:function" that gives a cell's figures instead of a virtual run
    real: Real | None = None
    about: str = ""  # how to read the verdict
    prior: str = ""  # what the debate expected of the figures, and how far that was right

    @property
    def releases(self) -> tuple[str, ...]:
        """Of the hypervisor; two where the arms compare them."""
        own = str(self.scenario.get("release", "4.17"))
        arms = (tomllib.loads("\n".join(arm.set)).get("release", own) for arm in self.arms.values())
        return tuple(dict.fromkeys(map(str, arms))) or (own,)

    @property
    def release(self) -> str:
        """Of the hypervisor, as text."""
        return ", ".join(self.releases)

    def sets(self, x: float, *, real: bool) -> tuple[str, ...]:
        """What the point at `x` sets; with `real` also what processes need. KeyError: no such point."""
        own = _at(self.points, x).set
        return (*own, *self.real.set, *_at(self.real.points, x).set) if real and self.real else own


def _at(points: tuple[Point, ...], x: float) -> Point:
    return {point.x: point for point in points}[x]


def _files() -> Iterator[tuple[str, str]]:
    folder = resources.files("launch.debate").joinpath(FOLDER)
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".toml"):
            yield entry.name, entry.read_text(encoding="utf-8")


def experiments() -> tuple[Experiment, ...]:
    """All of them, by number. UsageError for a file that is none."""
    return tuple(sorted((_parse(name, text) for name, text in _files()), key=_number))


def experiment(name: str) -> Experiment:
    """One by its id. UsageError that names the known ones."""
    known = {one.id.lower(): one for one in experiments()}
    found = known.get(name.lower())
    if found is None:
        raise UsageError(
            f"{name}: no such hypothesis: name one of {', '.join(one.id for one in known.values())}"
        )
    return found


def _number(one: Experiment) -> tuple[int, str]:
    """H9 before H14, and that before H14b."""
    digits = one.id[1:].rstrip(ascii_lowercase)
    return int(digits), one.id


def _parse(name: str, text: str) -> Experiment:
    try:
        return msgspec.convert(tomllib.loads(text), Experiment)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{name}: {error}: repair the experiment's file") from error
