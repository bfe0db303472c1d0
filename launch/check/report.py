"""What a check found: one verdict a host, one for the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from launch.check.finding import Finding


class Verdict(StrEnum):
    """As in the exit codes 0, 1 and 2."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


EXIT_CODES = {Verdict.VALID: 0, Verdict.INVALID: 1, Verdict.UNKNOWN: 2}


@dataclass(slots=True)
class HostReport:
    """One journal with the histories beside it."""

    name: str
    """The folder, relative to the run."""
    release: str = ""
    steps: int = 0
    """Atomic steps replayed."""
    operations: int = 0
    """Operations that the journal finished."""
    returned: int = 0
    """Of these, the ones whose answer a history holds."""
    unrecorded: int = 0
    """Operations of callers without a history."""
    indefinite: int = 0
    """Requests that never had an answer: they may or may not have happened."""
    happened: int = 0
    """Of the indefinite ones, those that did."""
    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])
    """Nothing wrong, but worth knowing: torn files, a hypervisor that did not end in good order."""
    unknown: str = ""
    """Why nothing can be said; "" when something can."""
    seconds: float = 0.0
    """Real seconds that the check took."""

    @property
    def verdict(self) -> Verdict:
        """Invalid as soon as anything was found."""
        if self.findings:
            return Verdict.INVALID
        return Verdict.UNKNOWN if self.unknown else Verdict.VALID

    @property
    def steps_per_second(self) -> int:
        """Speed of the check."""
        return round(self.steps / self.seconds) if self.seconds else 0

    @property
    def operations_per_second(self) -> int:
        """Speed of the check."""
        return round(self.operations / self.seconds) if self.seconds else 0

    def as_json(self) -> dict[str, Any]:
        """One element of `hosts` in --json."""
        return {
            "path": self.name,
            "verdict": self.verdict.value,
            "release": self.release,
            "steps": self.steps,
            "operations": self.operations,
            "returned": self.returned,
            "unrecorded": self.unrecorded,
            "indefinite": self.indefinite,
            "indefinite_happened": self.happened,
            "findings": [one.as_json() for one in self.findings],
            "notes": self.notes,
            "unknown": self.unknown,
            "seconds": round(self.seconds, 3),
            "steps_per_second": self.steps_per_second,
            "operations_per_second": self.operations_per_second,
        }

    def lines(self) -> Iterable[str]:
        """The report for people."""
        yield (
            f"{self.name}: {self.verdict}: {self.steps:,} steps, {self.operations:,} operations "
            f"({self.returned:,} answered, {self.unrecorded:,} of callers without a history, "
            f"{self.indefinite:,} indefinite, of which {self.happened:,} happened); "
            f"{self.seconds:.1f} s, {self.steps_per_second:,} steps/s, "
            f"{self.operations_per_second:,} operations/s"
        )
        yield from (f"  {one.line()}" for one in self.findings)
        if self.unknown:
            yield f"  unknown: {self.unknown}"
        yield from (f"  note: {note}" for note in self.notes)


@dataclass(frozen=True, slots=True)
class RunReport:
    """All hosts of a run."""

    path: str
    hosts: tuple[HostReport, ...]

    @property
    def verdict(self) -> Verdict:
        """Invalid if one host is; valid only if all are."""
        verdicts = {host.verdict for host in self.hosts}
        for verdict in (Verdict.INVALID, Verdict.UNKNOWN):
            if verdict in verdicts:
                return verdict
        return Verdict.VALID

    @property
    def exit_code(self) -> int:
        """0 valid, 1 invalid, 2 unknown."""
        return EXIT_CODES[self.verdict]

    def as_json(self) -> dict[str, Any]:
        """The document of --json."""
        return {
            "run": self.path,
            "verdict": self.verdict.value,
            "valid": self.verdict is Verdict.VALID,
            "steps": sum(host.steps for host in self.hosts),
            "operations": sum(host.operations for host in self.hosts),
            "hosts": [host.as_json() for host in self.hosts],
        }

    def lines(self) -> Iterable[str]:
        """The report for people."""
        for host in self.hosts:
            yield from host.lines()
        yield f"{self.path}: {self.verdict}"
