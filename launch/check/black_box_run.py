"""The black-box mode over a run's folders: every host's histories, its journal's records unread."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypervisor.core.host import Host, new_host
from hypervisor.core.releases import RELEASES
from hypervisor.journal import JournalReader
from hypervisor.streams import JournalError
from launch.check.black_box import BlackBox, OutOfBudgetError, calls_of, search
from launch.check.finding import EvidenceError, UnknownError
from launch.check.histories import Histories
from launch.check.host import JOURNAL
from launch.check.report import EXIT_CODES, Verdict
from launch.check.run import host_folders
from launch.check.states import host_of
from launch.cluster.host_config import host_config
from launch.errors import UsageError
from launch.scenario.load import load_scenario
from launch.scenario.scenes import scenes


@dataclass(frozen=True, slots=True)
class HostBlackBox:
    """One host."""

    name: str
    found: BlackBox | None
    fault: str = ""
    """Why nothing was searched, or what makes the histories worthless."""
    verdict: Verdict = Verdict.UNKNOWN

    def line(self) -> str:
        """For people."""
        if self.found is None:
            return f"{self.name}: {self.verdict}: {self.fault}"
        one = self.found
        how = "single steps" if one.steps else "whole operations"
        return (
            f"{self.name}: {self.verdict}: {one.calls:,} calls, {one.units:,} {how} tried, "
            f"{one.dead_ends:,} dead ends, {one.seconds:.1f} s"
        )

    def as_json(self) -> dict[str, Any]:
        """One element of `hosts` in --json."""
        plain: dict[str, Any] = {"path": self.name, "verdict": self.verdict.value, "fault": self.fault}
        if self.found is not None:
            fields = ("calls", "units", "dead_ends", "steps", "farthest", "seconds")
            plain.update({field: getattr(self.found, field) for field in fields})
        return plain


@dataclass(frozen=True, slots=True)
class RunBlackBox:
    """All hosts of a run."""

    hosts: tuple[HostBlackBox, ...]

    @property
    def verdict(self) -> Verdict:
        """Invalid if one host is; valid only if all are."""
        verdicts = {host.verdict for host in self.hosts}
        return next((one for one in (Verdict.INVALID, Verdict.UNKNOWN) if one in verdicts), Verdict.VALID)

    @property
    def exit_code(self) -> int:
        """0 valid, 1 invalid, 2 unknown."""
        return EXIT_CODES[self.verdict]

    def as_json(self) -> dict[str, Any]:
        """The document of --json."""
        return {"verdict": self.verdict.value, "hosts": [host.as_json() for host in self.hosts]}

    def lines(self) -> Iterable[str]:
        """For people."""
        yield from (host.line() for host in self.hosts)


def search_run_folder(run: Path, budget: float) -> RunBlackBox:
    """Search every host of a run, `budget` real seconds each. UsageError when there is no run."""
    return RunBlackBox(tuple(_one(run, folder, budget) for folder in host_folders(run)))


def _one(run: Path, folder: Path, budget: float) -> HostBlackBox:
    name = folder.name if folder == run else str(folder.relative_to(run))
    ends = time.perf_counter() + budget
    try:
        boot = _boot(folder)
        with Histories(folder) as histories:
            calls, moments = calls_of(histories.events(), histories.names, lambda: time.perf_counter() > ends)
        if not calls:
            raise UnknownError("no history: nothing to explain")
    except EvidenceError as error:
        return HostBlackBox(name, None, str(error), Verdict.INVALID)
    except UnknownError as error:
        return HostBlackBox(name, None, str(error))
    except OutOfBudgetError:
        return HostBlackBox(name, None, "the budget was spent before all histories were read: raise --budget")
    found = search(calls, moments, boot, ends - time.perf_counter())
    return HostBlackBox(name, found, "", found.verdict)


def _boot(folder: Path) -> Callable[[], Host]:
    """The host as it was at boot: from the journal's header, else from the run's scenario.json."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            header = JournalReader(file)
        host_of(header, JOURNAL)
    except (OSError, JournalError):
        return _boot_of_scenario(folder)
    return lambda: host_of(header, JOURNAL)


def _boot_of_scenario(folder: Path) -> Callable[[], Host]:
    try:
        scenario = load_scenario(folder.parents[2] / "scenario.json").scenario
    except (IndexError, UsageError, json.JSONDecodeError) as error:
        raise UnknownError(
            f"neither a journal's header nor scenario.json says what host it was: {error}"
        ) from error
    host = next((one.host for one in scenes(scenario) if one.host.name == folder.name), scenario.host)
    config, release = host_config(host), RELEASES[scenario.release]
    return lambda: new_host(config, release)
