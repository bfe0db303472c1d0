"""All hosts of a run judged with one measure: the same build time for every scheme."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from hypervisor.public.units import Seconds
from hypervisor.streams import JournalError
from launch.check.finding import EvidenceError, UnknownError
from launch.check.host import JOURNAL
from launch.check.run import host_folders
from launch.errors import UsageError
from launch.judge.build_time import folders_build_time
from launch.judge.evidence import EvidenceFault, folder_evidence
from launch.judge.judge import judge_stream
from launch.judge.report import RunJudgement
from launch.judge.verdict import HostJudgement
from launch.pools import in_order
from launch.results import path_name

ALONE: Final = 4 << 20
"""Bytes of journals up to which starting processes would cost more than it saves."""

Tell = Callable[[str], None]


def judge_run_folder(run: Path, jobs: int, tell: Tell) -> RunJudgement:
    """Judge RUN/<scheme>/<repeat>/<host>/, or one such folder, `jobs` hosts at a time.

    UsageError when there is nothing to judge, or a journal that cannot be: `claimlab check` says what is
    wrong with it.
    """
    folders = host_folders(run)
    build_time = _build_time(folders)
    work = partial(_one, run, build_time)
    hosts: list[HostJudgement] = []
    for host in in_order(work, folders, 1 if journal_bytes(run) <= ALONE else jobs):
        hosts.append(host)
        tell(_line(host))
    return RunJudgement(build_time, _by_scheme(hosts, _order(run)))


def journal_bytes(run: Path) -> int:
    """Size of all journals of a run."""
    return sum(path.stat().st_size for path in run.rglob(JOURNAL))


def _line(host: HostJudgement) -> str:
    return f"{host.name}: {host.steps:,} steps judged in {host.seconds:.1f} s"


def _build_time(folders: Sequence[Path]) -> Seconds | None:
    try:
        return folders_build_time(folders)
    except EvidenceFault as error:
        raise UsageError(_damaged(error)) from error


def _damaged(error: Exception) -> str:
    return f"{error}: copy the folder anew from where it was run, or run it again"


def _one(run: Path, build_time: Seconds | None, folder: Path) -> HostJudgement:
    name = folder.name if folder == run else str(folder.relative_to(run))
    try:
        evidence = folder_evidence(folder)
        if evidence.outcomes and not evidence.orders:
            raise UsageError(f"{folder}: no orders.jsonl: only runs of this version on can be judged")
        strange = {one.order for one in evidence.outcomes} - {one.order for one in evidence.orders}
        if strange:
            text = f"outcomes.jsonl tells of order {min(strange)}, which orders.jsonl does not know"
            raise UsageError(_damaged(ValueError(f"{folder}: {text}")))
        with (folder / JOURNAL).open("rb") as journal:
            return judge_stream(journal, evidence, name, build_time)
    except EvidenceFault as error:
        raise UsageError(_damaged(error)) from error
    except OSError as error:
        raise UsageError(f"{folder}/{JOURNAL}: {error.strerror}: nothing can be judged without it") from error
    except (EvidenceError, UnknownError, JournalError) as error:
        raise UsageError(f"{folder}: cannot be judged: {error} (claimlab check says more)") from error


def _order(run: Path) -> Sequence[str]:
    """The schemes' folders as the scenario names them; none when there is no scenario to be read."""
    try:
        schemes = json.loads((run / "scenario.json").read_text(encoding="utf-8"))["schemes"]
        return [path_name(str(scheme)) for scheme in schemes]
    except (OSError, ValueError, LookupError, TypeError):
        return ()


def _by_scheme(
    hosts: Sequence[HostJudgement], order: Sequence[str]
) -> Mapping[str, tuple[HostJudgement, ...]]:
    """In that order, others behind; a host judged alone is a scheme of its own name."""
    schemes: dict[str, tuple[HostJudgement, ...]] = {}
    for host in hosts:
        scheme = host.name.split("/", maxsplit=1)[0]
        schemes[scheme] = (*schemes.get(scheme, ()), host)
    known = [scheme for scheme in order if scheme in schemes]
    return {scheme: schemes[scheme] for scheme in dict.fromkeys([*known, *schemes])}


def to_document(judgement: RunJudgement) -> bytes:
    """judge.json."""
    document: Any = judgement.as_json()
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"
