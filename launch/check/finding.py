"""What a check can find wrong, and how it is said: one line that names file, record and commit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What is wrong. All but INVARIANT and REAL_TIME say that a file is not what the run wrote."""

    DAMAGED = "damaged"
    """A record cannot be read, or is no record."""
    TRUNCATED = "truncated"
    """The journal ends before operations that parties had answers to."""
    GAP = "gap"
    """Commits are missing between two records."""
    REORDERED = "reordered"
    """A record stands before one that was written earlier."""
    REPLAY = "replay"
    """The pure core, given the same requests in the same order, does something else."""
    HISTORY = "history"
    """A party's history and the journal do not tell the same story."""
    INVARIANT = "invariant"
    """The books did not balance, and no rule of the release permits it: a race, or a bug."""
    REAL_TIME = "real-time"
    """I12: an operation took effect outside the time between its invocation and its return."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    file: str
    record: int
    """Counted from 1 after the header; 0 when it is about no single record."""
    commit: int
    """The commit it is about, or the last one before it."""
    text: str

    def line(self) -> str:
        """One line for people."""
        return f"{self.kind}: {self.file}: record {self.record}, commit {self.commit}: {self.text}"

    def as_json(self) -> dict[str, Any]:
        """One object of --json."""
        return {
            "kind": self.kind.value,
            "file": self.file,
            "record": self.record,
            "commit": self.commit,
            "text": self.text,
        }


class EvidenceError(Exception):
    """From here on the evidence is worth nothing; `finding` says where and why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.line())
        self.finding = finding


class UnknownError(Exception):
    """It cannot be told whether the evidence holds: the text says why, and the cure."""
