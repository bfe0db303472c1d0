"""Everything that a page says of a run, read from its folder; the journals only when they are wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from hypervisor.journal import JournalReader
from hypervisor.streams import JournalError
from launch.check.finding import EvidenceError, UnknownError
from launch.check.host import JOURNAL
from launch.check.run import host_folders
from launch.errors import UsageError
from launch.judge.evidence import EvidenceFault, folder_evidence
from launch.judge.judge import HostEvidence
from launch.judge.run import ALONE, Tell, journal_bytes, judge_run_folder, to_document
from launch.judge.verdict import HostJudgement
from launch.launches import Launch, fold
from launch.pools import in_order
from launch.report.chosen import chosen_domains
from launch.report.reading import NOTHING, read_host
from launch.report.story import HostStory, HostTrace
from launch.report.wanted import wanted
from launch.scenario.plain import is_array
from launch.summary import Summary
from launch.trace.tracer import Tracer

HOSTS_DRAWN: Final = 12
"""Hosts with curves and diagrams: the first repeats of every scheme. Tables count them all."""
POINTS: Final = 150_000
"""Points of all curves of a page together: it stays below 10 MB."""
CURVES_OF_HOST: Final = 50
OPERATIONS: Final = 12_000
"""Operations of all hosts together in a trace: it stays below 15 MB."""
PIDS_OF_HOST: Final = 10
"""Process numbers that a host's part of a trace has for itself."""
FEWEST, MOST = 200, 1200
"""Points of one curve."""


@dataclass(frozen=True, slots=True)
class HostFolder:
    """One host, and what was found out about it."""

    name: str
    """SCHEME/REPEAT/HOST, or the folder's own name."""
    scheme: str
    repeat: int
    evidence: HostEvidence
    judgement: HostJudgement | None
    story: HostStory | None
    """None when its journal was not read."""

    def launches(self) -> tuple[Launch, ...]:
        """What became of every order that was sent to it."""
        return fold({one.order: one.time for one in self.evidence.orders}, self.evidence.outcomes)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run."""

    path: Path
    name: str
    scenario: Mapping[str, Any]
    """scenario.json; empty when there is none."""
    summary: Summary | None
    """None when the run did not come to its end, or a single host is looked at."""
    remarks: tuple[str, ...]
    """Violations, leftovers and notes: the bullets of summary.md."""
    hosts: tuple[HostFolder, ...]
    """By scheme in the scenario's order, then by repeat."""

    @property
    def judged(self) -> bool:
        """Every host was."""
        return all(host.judgement is not None for host in self.hosts)


class _Judged(msgspec.Struct):
    """What of judge.json is read."""

    hosts: tuple[HostJudgement, ...]


def read_run(
    run: Path, tell: Tell, *, replay: bool = True, judge: bool = True, jobs: int | None = None
) -> RunFolder:
    """Read RUN, or the folder of one host, its journals if `replay`; judge it where nobody has, if `judge`.

    UsageError for what is no run, or for a journal that cannot be judged.
    """
    folders = host_folders(run)
    workers = jobs or os.cpu_count() or 1
    evidence = [_evidence(folder) for folder in folders]
    judgements = _judgements(run, tell, replay and judge, workers)
    names = [folder.name if folder == run else str(folder.relative_to(run)) for folder in folders]
    stories: Mapping[str, HostStory] = {}
    if replay:
        stories = _stories(run, list(zip(names, folders, strict=True)), judgements, workers)
    hosts = [
        HostFolder(name, *_place(name), one, judgements.get(name), stories.get(name))
        for name, one in zip(names, evidence, strict=True)
    ]
    scenario = _document(run / "scenario.json")
    return RunFolder(
        path=run,
        name=run.resolve().name,
        scenario=scenario,
        summary=_summary(run),
        remarks=tuple(_remarks(run)),
        hosts=tuple(_in_order(hosts, _names(scenario.get("schemes")))),
    )


def _place(name: str) -> tuple[str, int]:
    """Scheme and repeat."""
    parts = name.split("/")
    return (parts[0], int(parts[1])) if len(parts) == 3 and parts[1].isdigit() else (name, 1)


def _names(schemes: object) -> Sequence[str]:
    """A scenario's list of schemes; nothing where somebody has written something else."""
    return [str(one) for one in schemes] if is_array(schemes) else []


def _in_order(hosts: Sequence[HostFolder], schemes: Sequence[str]) -> Sequence[HostFolder]:
    rank = {scheme: index for index, scheme in enumerate(schemes)}
    return sorted(hosts, key=lambda one: (rank.get(one.scheme, len(rank)), one.scheme, one.repeat, one.name))


# ---- what stands in files


def _evidence(folder: Path) -> HostEvidence:
    try:
        return folder_evidence(folder)
    except EvidenceFault as error:
        text = f"{folder}: its orders.jsonl, outcomes.jsonl or guests/ are not what a run leaves"
        raise UsageError(f"{text}: {error}") from error


def _document(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast(dict[str, Any], content) if isinstance(content, dict) else {}


def _summary(run: Path) -> Summary | None:
    try:
        return msgspec.json.decode((run / "summary.json").read_bytes(), type=Summary)
    except (OSError, msgspec.DecodeError):
        return None


def _remarks(run: Path) -> Sequence[str]:
    try:
        lines = (run / "summary.md").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    return [line.removeprefix("- ") for line in lines if line.startswith("- ")]


# ---- what stands in journals


def _judgements(run: Path, tell: Tell, judge: bool, jobs: int) -> Mapping[str, HostJudgement]:
    """By host; judge.json when it is there, else judged now, and none without `judge`."""
    path = run / "judge.json"
    try:
        hosts = msgspec.json.decode(path.read_bytes(), type=_Judged).hosts
        return {host.name: host for host in hosts}
    except (OSError, msgspec.DecodeError):
        pass  # not judged yet, or by another version
    if not judge:
        return {}
    judgement = judge_run_folder(run, jobs, tell)
    if (run / "scenario.json").is_file():
        path.write_bytes(to_document(judgement))
    return {host.name: host for hosts in judgement.schemes.values() for host in hosts}


def _stories(
    run: Path, hosts: Sequence[tuple[str, Path]], judgements: Mapping[str, HostJudgement], jobs: int
) -> Mapping[str, HostStory]:
    """Of the hosts that are drawn, several at a time."""
    drawn = sorted(hosts, key=lambda one: (_place(one[0])[1], one[0]))[:HOSTS_DRAWN]
    limit = min(max(POINTS // (len(drawn) * CURVES_OF_HOST), FEWEST), MOST)
    work = partial(_story, limit, OPERATIONS // len(drawn))
    tasks = [
        (number * PIDS_OF_HOST, name, folder, judgements.get(name))
        for number, (name, folder) in enumerate(drawn, 1)
    ]
    found = in_order(work, tasks, 1 if journal_bytes(run) <= ALONE else jobs)
    return {story.name: story for story in found}


def _story(limit: int, operations: int, task: tuple[int, str, Path, HostJudgement | None]) -> HostStory:
    base, name, folder, judgement = task
    evidence = _evidence(folder)
    tracer = Tracer(base, operations)
    try:
        with (folder / JOURNAL).open("rb") as file:
            story = read_host(
                JournalReader(file),
                evidence.outcomes,
                name,
                chosen_domains(evidence, judgement),
                NOTHING if judgement is None else wanted(judgement),
                limit,
                (tracer,),
            )
    except OSError as error:
        raise UsageError(f"{folder}/{JOURNAL}: {error.strerror}: nothing can be shown without it") from error
    except (EvidenceError, UnknownError, JournalError) as error:
        raise UsageError(f"{folder}: cannot be replayed: {error} (claimlab check says more)") from error
    tracer.close()
    return msgspec.structs.replace(story, trace=HostTrace(base, tracer.events, tracer.left_out))
