"""What an exhibit is: a historic bug that a switch brings back, and a schedule that shows it.

Both sides are worlds of the explorer and judged as every world is: the invariants after every step, the
judge of launches, and what the world itself holds for a violation. None of them knows of the switch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

from hypervisor.core.releases import Release
from launch.explore.blueprint import Blueprint, blueprint
from launch.explore.small_world import Setting, SmallWorld
from toolstack.interface import Scheme

NewScheme = Callable[[], Scheme]
BUDGET: Final = 10_000
"""Schedules of the sound side that are tried where nothing else is said: all of them, so far."""


def no_scheme() -> Scheme:
    """For worlds whose parties make their hypercalls themselves. Raises AssertionError."""
    raise AssertionError("this world has no toolstack with a scheme")


@dataclass(frozen=True, slots=True)
class Side:
    """A world, and what is chosen from outside."""

    world: SmallWorld
    release: Release
    scheme: NewScheme = no_scheme

    def blueprint(self) -> Blueprint:
        """The world's set-up, done."""
        return blueprint(self.world, Setting(self.release, self.scheme))


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One bug."""

    name: str
    when: str
    """Releases or years in which it was there; "undated" where no source tells."""
    source: str
    """The commit, report or rule that tells of it."""
    broke: str
    """What became untrue, in a few words."""
    switch: str
    """What is changed to bring it back."""
    history: str
    """A paragraph, from the reference notes."""
    on: Side
    """With the bug."""
    off: Side
    """Without it."""
    schedule: str
    """The smallest that shows it, as `claimlab explore --schedule` takes it."""
    budget: int = BUDGET
    """Schedules of the sound side to try; fewer when they are exhausted before."""


def switches_turned(exhibit: Exhibit) -> tuple[str, ...]:
    """The names of release switches in which the two sides differ."""
    one, other = exhibit.on.release, exhibit.off.release
    return tuple(each.name for each in fields(one) if getattr(one, each.name) != getattr(other, each.name))
