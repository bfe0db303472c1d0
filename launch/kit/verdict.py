"""All trials of one program, and what they found."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.curable import curable
from launch.kit.stage import Setting
from launch.kit.stage import Stage as Trial
from launch.kit.trials import TRIALS, enlists
from launch.results import SOCKETS_PREFIX

Find = Callable[[Trial], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One trial's."""

    name: str
    claim: str
    faults: tuple[str, ...]
    held: bool = True
    """False: the trial could not be held, because the program had ended before."""

    @property
    def passed(self) -> bool:
        """True when it was held and found nothing."""
        return self.held and not self.faults

    def as_json(self) -> dict[str, object]:
        """For --json."""
        return {**asdict(self), "passed": self.passed}


def try_toolstack(setting: Setting, folder: Path, tell: Callable[[Verdict], None]) -> list[Verdict]:
    """Hold every trial, the wire's own complaints last; `tell` hears each verdict as it falls.

    `folder` keeps the program's output, the access file and the journal. UsageError when the program cannot
    be started at all.
    """
    sockets = Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX))
    verdicts: list[Verdict] = []
    try:
        with curable(folder), Trial(setting, folder, sockets, lambda _role, _pid: None) as trial:
            for one in TRIALS:
                verdicts.append(_hold(one, trial))
                tell(verdicts[-1])
            trial.close_hypervisor()
            verdicts.append(_verdict(clean_wire, tuple(clean_wire(trial))))
            tell(verdicts[-1])
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
    return verdicts


def _hold(one: Find, trial: Trial) -> Verdict:
    if one is not enlists and (trial.ended is not None or not trial.heard.enlisted):
        return _verdict(one, (), held=False)
    return _verdict(one, tuple(one(trial)))


def _verdict(one: Find, faults: tuple[str, ...], *, held: bool = True) -> Verdict:
    claim = (one.__doc__ or "").strip()
    return Verdict(one.__name__.replace("_", "-"), claim, faults, held)


def clean_wire(trial: Trial) -> Iterator[str]:
    """Nothing it sent was malformed, out of turn or beyond its credit."""
    yield from dict.fromkeys(trial.heard.complaints)
    stats = json.loads(trial.stats.read_text(encoding="utf-8"))
    for error, count in stats["refusals"].items():
        yield f"the hypervisor refused {count} of its messages: {error} (docs/protocol.md)"
    for line in stats["violations"]:
        yield f"the books do not balance: {line}"
