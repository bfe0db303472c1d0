"""What a search tells its user: the classes of outcomes, the figures, and the way to repeat a violation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launch.explore.interleaving import Row
from launch.explore.options import Asked
from launch.explore.schedule import written
from launch.explore.search import Exploration, Finding

EXIT_VIOLATED = 1
EXIT_UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class Shown:
    """A finding made small."""

    finding: Finding
    rows: tuple[Row, ...]
    found_as: str
    """The schedule as the scheduler found it."""
    replays: int
    """Schedules run to make it small."""


@dataclass(frozen=True, slots=True)
class Report:
    """One search."""

    asked: Asked
    scheduler: str
    """With its parameters: "pct, depth 3, seed 1"."""
    exploration: Exploration
    shown: Shown | None
    replayed: bool = False
    """One schedule only was run, as the user gave it."""

    @property
    def verdict(self) -> str:
        """Of a search: violated, exhausted or budget; of a replay, in which nothing is exhausted: clean."""
        verdict = self.exploration.verdict
        return "clean" if self.replayed and verdict == "exhausted" else verdict

    @property
    def exit_code(self) -> int:
        """1 violated, 0 exhausted or a clean replay, 2 the budget ran out first."""
        verdict = self.exploration.verdict
        return EXIT_VIOLATED if verdict == "violated" else 0 if verdict == "exhausted" else EXIT_UNKNOWN

    @property
    def title(self) -> str:
        """What was explored."""
        scheme = f", scheme {self.asked.scheme}" if self.asked.scheme is not None else ""
        return f"{self.asked.world.name}: release {self.asked.release.name}{scheme}, {self.scheduler}"

    def lines(self) -> Iterator[str]:
        """Lines below the interleaving."""
        if self.shown is not None:
            yield from self._replay_lines(self.shown)
        yield from self._outcome_lines()
        yield self._verdict_line()
        yield self._speed_line()

    def _replay_lines(self, shown: Shown) -> Iterator[str]:
        kind = shown.finding.violation.kind
        yield f"{kind}: {self.operations} operations after the set-up"
        if shown.replays:
            yield f"found as {shown.found_as}, made small with {shown.replays} replays"
        yield f"replay: {self.replay}"

    @property
    def replay(self) -> str:
        """The one command that shows the violation again; "" without one."""
        if self.shown is None:
            return ""
        return self.asked.command(written(self.shown.finding.turns, self.shown.finding.kept))

    @property
    def operations(self) -> int:
        """Hypercalls of the interleaving shown."""
        rows = self.shown.rows if self.shown is not None else ()
        return len({row.number for row in rows if row.first})

    def _outcome_lines(self) -> Iterator[str]:
        outcomes = sorted(self.exploration.outcomes.items(), key=lambda item: -item[1].schedules)
        for name, one in outcomes:
            yield f"{one.schedules:>8,} x {name} (first: {written(one.first)})"

    def _verdict_line(self) -> str:
        found = self.exploration
        interleavings = f"{found.schedules:,} interleaving" + ("s" if found.schedules != 1 else "")
        if found.verdict == "violated":
            return f"violated: {found.violating:,} of {interleavings} tried"
        if self.verdict == "clean":
            return "replayed: this interleaving violates nothing; others may"
        if found.verdict == "exhausted":
            return f"exhausted, {interleavings}, none violates"
        if found.cut:
            most = self.asked.world.most_steps
            return f"{found.cut:,} of {interleavings} cut off after {most:,} moves, none violates: others may"
        return f"budget spent, {interleavings} tried, none violates: others may; raise --budget"

    def _speed_line(self) -> str:
        found = self.exploration
        tried, seconds = found.schedules + found.redundant, max(found.seconds, 1e-9)
        several = "s" if tried != 1 else ""
        given_up = f" ({found.redundant:,} given up as repeating others)" if found.redundant else ""
        return (
            f"{tried:,} schedule{several}{given_up} and {found.steps:,} steps in {seconds:.2f} s: "
            f"{tried / seconds:,.0f} schedules/s, {found.steps / seconds:,.0f} checked steps/s"
        )

    def as_json(self) -> dict[str, object]:
        """The document of --json."""
        found, shown = self.exploration, self.shown
        return {
            "scenario": self.asked.world.name,
            "release": self.asked.release.name,
            "scheme": self.asked.scheme,
            "scheduler": self.scheduler,
            "verdict": self.verdict,
            "schedules": found.schedules,
            "redundant": found.redundant,
            "cut": found.cut,
            "violating": found.violating,
            "steps": found.steps,
            "seconds": found.seconds,
            "outcomes": {
                name: {"schedules": one.schedules, "first": written(one.first)}
                for name, one in found.outcomes.items()
            },
            "violation": None if shown is None else self._violation(shown),
        }

    def _violation(self, shown: Shown) -> dict[str, object]:
        violation = shown.finding.violation
        return {
            "kind": violation.kind,
            "detail": violation.detail,
            "commit": violation.commit,
            "found_as": shown.found_as,
            "schedule": written(shown.finding.turns, shown.finding.kept),
            "operations": self.operations,
            "replay": self.replay,
            "interleaving": [row.as_json() for row in shown.rows],
        }
