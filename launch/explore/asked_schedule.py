"""A schedule that a user asked for is taken as it stands or refused: another one would prove nothing."""

from __future__ import annotations

from launch.errors import UsageError
from launch.explore.blueprint import Blueprint
from launch.explore.execution import Execution
from launch.explore.footprint import Footprints
from launch.explore.schedule import LETTERS, Kept, Replay, Turns, written


def ensure_named(blueprint: Blueprint, turns: Turns, kept: Kept | None) -> None:
    """Every party and every act of the schedule is one of the world's. Raises UsageError."""
    stage = Execution(blueprint, Footprints())
    parties = ", ".join(f"{LETTERS[index]} ({name})" for index, name in enumerate(stage.names))
    for party in sorted({party for party, _ in turns} | {party for party, _ in kept or ()}):
        if party >= len(stage.names):
            raise UsageError(
                f"--schedule: {blueprint.world.name} has no party {LETTERS[party]}: name one of {parties}"
            )
    for party, act in sorted(kept or ()):
        if not 0 <= act < stage.acts[party]:
            last = f"{LETTERS[party]}{stage.acts[party]}"
            raise UsageError(
                f"--schedule: {LETTERS[party]}{act + 1} is no act of {blueprint.world.name}: "
                f"before the slash stand acts up to {last}"
            )


def ensure_taken(replay: Replay, turns: Turns, *, to_the_end: bool) -> None:
    """Every turn was taken, or all up to where the replay stopped short of the end. Raises UsageError."""
    if replay.untaken:
        place = replay.untaken[0]
        token = written(turns[place : place + 1])
        raise UsageError(
            f"--schedule: turn {place + 1}, {token}, cannot be taken, its party has nothing "
            f"{'else ' if turns[place][1] else ''}to do there: leave it out"
        )
    if replay.left and to_the_end:
        done = turns[: len(turns) - replay.left]
        raise UsageError(
            f"--schedule: turn {len(done) + 1}, {written(turns[len(done) :][:1])}, cannot be taken, nobody "
            f"has anything left to do: end it with {written(done)}"
        )
