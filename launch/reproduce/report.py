"""What `claimlab reproduce` tells its user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.explore.schedule import written
from launch.reproduce.reproduce import Reproduced
from launch.reproduce.saved import Saved
from launch.reproduce.witness import Witness

EXIT_VIOLATED = 1
EXIT_UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class Report:
    """One witness."""

    witness: Witness
    reproduced: Reproduced
    file: Path | None
    """Where it is kept."""
    saved: Saved | None = None
    """What the file said, when it is shown again."""

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.reproduced.small is not None:
            return "reproduced"
        if self.saved is not None:
            return "gone"
        return "unknown" if self.reproduced.rebuilt.departed is not None else "harmless"

    @property
    def exit_code(self) -> int:
        """1 reproduced, 0 nothing becomes untrue, 2 the world does something else than was recorded."""
        return {"reproduced": EXIT_VIOLATED, "harmless": 0}.get(self.verdict, EXIT_UNKNOWN)

    @property
    def title(self) -> str:
        """What is reproduced."""
        return f"{self.witness.kind}: {self.witness.about}"

    def lines(self) -> Iterator[str]:
        """Lines below the table."""
        yield self._rebuilt_line()
        if self.saved is None:
            yield self._faithful_line()
        small = self.reproduced.small
        if small is None:
            if self.saved is not None:
                yield (
                    f"gone: the schedule saved for a {self.saved.violation} violates nothing any more: "
                    "the core or the scheme is another than it was then"
                )
            if self.verdict == "harmless":
                yield "nothing became untrue by it"
            return
        yield f"{small.violation.kind}: {small.violation.detail}"
        if self.reproduced.replays:
            operations, replays = self.reproduced.operations, self.reproduced.replays
            yield f"{operations} operations, made small with {replays} replays"
        yield f"replay: {self.command}"

    def _rebuilt_line(self) -> str:
        rebuilt = self.reproduced.rebuilt
        played = "by its scheme" if rebuilt.by_scheme else "by what it did"
        if rebuilt.not_asked_for:
            played += f" (--scheme {rebuilt.not_asked_for} would import its scheme)"
        recording = rebuilt.recording
        return (
            f"rebuilt from commit {recording.before + 1} to {rebuilt.end}: {len(recording.steps):,} steps of "
            f"{len(recording.operations)} operations by {len(rebuilt.roles)} parties; "
            f"the launch is played {played}"
        )

    def _faithful_line(self) -> str:
        departed = self.reproduced.rebuilt.departed
        if departed is None:
            return "the recorded interleaving gives the same steps and replies"
        return f"the recorded interleaving goes another way at commit {departed}"

    @property
    def command(self) -> str:
        """The one command that shows it again; "" without a violation."""
        if self.file is None:
            return ""
        scheming = next((one.scheming for one in self.reproduced.rebuilt.roles if one.scheming), None)
        named = f" --scheme {scheming.name}" if scheming is not None and ":" in scheming.name else ""
        return f"claimlab reproduce --replay {self.file}{named}"

    def as_json(self) -> dict[str, Any]:
        """The document of --json."""
        small, rebuilt = self.reproduced.small, self.reproduced.rebuilt
        return {
            "witness": self.witness.as_json(),
            "verdict": self.verdict,
            "before": rebuilt.recording.before,
            "end": rebuilt.end,
            "steps": len(rebuilt.recording.steps),
            "operations_recorded": len(rebuilt.recording.operations),
            "by_scheme": rebuilt.by_scheme,
            "departed": rebuilt.departed,
            "violation": None
            if small is None
            else {
                "kind": small.violation.kind,
                "detail": small.violation.detail,
                "commit": small.violation.commit,
            },
            "schedule": None if small is None else written(small.turns, small.kept),
            "operations": self.reproduced.operations,
            "replays": self.reproduced.replays,
            "replay": self.command,
            "interleaving": [row.as_json() for row in self.reproduced.rows],
        }


def list_lines(found: Sequence[Witness]) -> Iterator[str]:
    """One line each, by number."""
    if not found:
        yield "no late failure, false grant, false refusal or window that moved: nothing to reproduce"
    for number, one in enumerate(found, 1):
        yield f"{number:>4}  {one.kind}: {one.about}"
