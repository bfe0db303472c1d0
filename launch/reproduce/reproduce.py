"""A witness of the judge, from the journal to the smallest interleaving that does the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hypervisor.public.units import Commit
from launch.errors import UsageError
from launch.explore.blueprint import Blueprint
from launch.explore.execution import Execution
from launch.explore.footprint import Footprints
from launch.explore.interleaving import Row, interleaving
from launch.explore.schedule import Replay, read, turns_of, without_the_rule, written
from launch.explore.search import Finding
from launch.explore.shrink import Shrinker
from launch.judge.cases import Case
from launch.reproduce.cast import Role, Scheming, cast, hurry
from launch.reproduce.evidence import HostFolder, host_folder, host_in
from launch.reproduce.follow import Follow, departure
from launch.reproduce.recording import Recording, landmarks, recording
from launch.reproduce.saved import Saved
from launch.reproduce.thin import Thinner
from launch.reproduce.witness import Witness, case_of, stretch
from launch.reproduce.world import recorded_blueprint

MOST_STEPS: Final = 200_000
"""Of a stretch: some 20 s for each replay of it."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A stretch as a small world, with the recorded interleaving done once."""

    recording: Recording
    wanted: Case
    end: Commit
    roles: tuple[Role, ...]
    blueprint: Blueprint
    not_asked_for: str
    """See `HostFolder`."""
    departed: Commit | None
    """The first commit that came out differently; None: same steps, same replies."""
    finding: Finding | None
    """The recorded interleaving, if something becomes untrue by it."""

    @property
    def by_scheme(self) -> bool:
        """The wanted launch is played by its scheme."""
        return self.roles[0].scheming is not None


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What came of a witness."""

    rebuilt: Rebuilt
    small: Finding | None
    rows: tuple[Row, ...]
    replays: int
    at_once: bool = False
    """See `Saved.at_once`."""

    @property
    def operations(self) -> int:
        """Hypercalls of the interleaving shown."""
        return len({row.number for row in self.rows if row.first})


def rebuild(folder: HostFolder, witness: Witness) -> Rebuilt:
    """Its world. The schemes play the launches where they act as recorded; otherwise what was recorded does.

    UsageError for a stretch that is too long.
    """
    case = case_of(folder.cases, witness)
    before, end = stretch(witness, case, landmarks(folder.path))
    if end - before > MOST_STEPS:
        raise UsageError(
            f"launch {witness.launch}: {end - before:,} steps lie between the last quiet moment before it "
            f"and its end, {MOST_STEPS:,} can be rebuilt: choose another witness, or run a smaller scenario"
        )
    stretched = recording(folder.path, before, end)
    rebuilt = _with(stretched, end, folder, case, folder.scheming)
    if rebuilt.by_scheme and (rebuilt.departed is not None or rebuilt.finding is None):
        plain = _with(stretched, end, folder, case, None)
        if plain.departed is None or plain.finding is not None:
            return plain
    return rebuilt


def _with(
    stretched: Recording, end: Commit, folder: HostFolder, case: Case, scheming: Scheming | None
) -> Rebuilt:
    roles = cast(stretched, folder.cases, case, scheming)
    blueprint = recorded_blueprint(stretched, roles, case)
    execution = Execution(blueprint, Footprints())
    execution.run(Follow(stretched, roles), stop_at_violation=True)
    violations = execution.scene.violations
    finding = None
    if violations:
        finding = Finding(turns_of([record.move for record in execution.records]), violations[0])
    departed = departure(stretched, execution)
    return Rebuilt(stretched, case, end, roles, blueprint, folder.not_asked_for, departed, finding)


def reproduce(folder: HostFolder, witness: Witness, spent: Callable[[int], bool]) -> Reproduced:
    """Rebuild it, and make what becomes untrue as small as it can be until `spent`.

    That is asked between two replays, and told how many there have been.
    """
    rebuilt = rebuild(folder, witness)
    if rebuilt.finding is None:
        return Reproduced(rebuilt, None, (), 0)
    thinner = Thinner(rebuilt.blueprint, lambda: spent(thinner.replays))
    thin = thinner.thin(rebuilt.finding)
    replays, blueprint, at_once = thinner.replays, rebuilt.blueprint, False
    if rebuilt.by_scheme:
        hurried = recorded_blueprint(rebuilt.recording, hurry(rebuilt.roles), rebuilt.wanted)
        hurrier = Thinner(hurried, lambda: spent(thinner.replays + hurrier.replays))
        found = hurrier.again(thin)
        replays += hurrier.replays
        if found is not None:
            thin, blueprint, at_once = found, hurried, True
    shrinker = Shrinker(blueprint, lambda: spent(replays + shrinker.replays))
    small = shrinker.shrink(thin)
    rows = interleaving(blueprint, small.turns, small.kept)
    return Reproduced(rebuilt, small, rows, replays + shrinker.replays, at_once)


def saved_of(witness: Witness, reproduced: Reproduced) -> Saved:
    """What is kept of it. Only for one that violates something."""
    small, rebuilt = reproduced.small, reproduced.rebuilt
    assert small is not None
    return Saved(
        witness=witness,
        before=rebuilt.recording.before,
        end=rebuilt.end,
        by_scheme=rebuilt.by_scheme,
        at_once=reproduced.at_once,
        schedule=written(small.turns, small.kept),
        violation=small.violation.kind,
        detail=small.violation.detail,
    )


def replay(run: Path, saved: Saved, scheme: str | None = None) -> Reproduced:
    """Show it again, from the journal it was made from. UsageError when that is another one by now.

    `scheme` as in `host_folder`. Nothing small: the schedule does not violate anything any more.
    """
    folder = host_folder(host_in(run, saved.witness.host), scheme)
    if saved.by_scheme and folder.scheming is None:
        name = folder.not_asked_for
        cure = f"name it: --scheme {name}" if name else "keep the file beside its run, and install the scheme"
        raise UsageError(f"{folder.path}: the launch is played by its scheme: {cure}")
    case = next((one for one in folder.cases if one.number == saved.witness.launch), None)
    if case is None:
        raise UsageError(f"{folder.path}: no launch {saved.witness.launch}: keep the file beside its run")
    stretched = recording(folder.path, saved.before, saved.end)
    roles = cast(stretched, folder.cases, case, folder.scheming if saved.by_scheme else None)
    roles = hurry(roles) if saved.at_once else roles
    blueprint = recorded_blueprint(stretched, roles, case)
    turns, kept = read(saved.schedule)
    execution = Execution(blueprint, Footprints(), kept)
    chooser = Replay(turns)
    execution.run(chooser, stop_at_violation=True)
    rows = interleaving(blueprint, turns, kept)
    small = None
    if execution.scene.violations:
        made = without_the_rule(turns_of([record.move for record in execution.records]), chooser.followed)
        small = Finding(made, execution.scene.violations[0], kept)
    rebuilt = Rebuilt(stretched, case, saved.end, roles, blueprint, folder.not_asked_for, None, small)
    return Reproduced(rebuilt, small, rows, 0, saved.at_once)
