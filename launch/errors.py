"""What a user can put right: one clear line each on standard error, exit code 2."""

from __future__ import annotations

from collections.abc import Iterable


class UsageError(Exception):
    """Bad usage or a bad scenario. Every line names the fault and its cure and stands on its own."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class ScenarioError(UsageError):
    """A scenario that cannot be run: file, line where it can be told, dotted key, and the cure."""


def one_line(parts: Iterable[str]) -> str:
    """Join text into a single line, whatever line breaks the parts hold."""
    return " ".join(" ".join(parts).split())
