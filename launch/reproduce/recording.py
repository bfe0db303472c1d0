"""A stretch of a journal: the host before it, and every operation and step in it.

Generators cannot be kept, so a stretch begins where nothing was under way: at the last such commit before
the operation that it is wanted from.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hypervisor.core.releases import Release
from hypervisor.core.steps import Caller
from hypervisor.journal import JournalReader, reply_digest
from hypervisor.public.domctl import Created
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import Commit
from hypervisor.streams import JournalError
from launch.check.finding import EvidenceError, UnknownError
from launch.check.host import JOURNAL
from launch.check.states import Clocked, Done, States
from launch.errors import UsageError
from launch.explore.blueprint import Frozen, freeze
from launch.judge.cases import Key


@dataclass(slots=True, eq=False)
class Recorded:
    """One operation of the stretch."""

    number: int
    caller: Caller
    request: Request
    first: Commit
    reply: Reply | None = None
    """None when it was still under way at the end of the stretch."""

    @property
    def last(self) -> Commit | None:
        """Its last commit, if it has one."""
        return None if self.reply is None else self.reply.last


class RecordedStep(NamedTuple):
    """One atomic step of the stretch."""

    commit: Commit
    name: str
    operation: int
    digest: int | None
    """Of the reply, with an operation's last step."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A stretch."""

    release: Release
    before: Commit
    """The commit that left the host as it is in `start`."""
    start: Frozen
    operations: tuple[Recorded, ...]
    """By first commit."""
    steps: tuple[RecordedStep, ...]


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What one pass over a journal finds to begin at."""

    quiet: array[int]
    """Commits after which nothing was under way, ascending, 0 included."""
    created: dict[Key, Commit]
    """First commit of the createdomain that made a domain."""

    def quiet_before(self, commit: Commit) -> Commit:
        """The last of `quiet` before that commit."""
        return self.quiet[bisect_right(self.quiet, commit - 1) - 1]


def landmarks(folder: Path) -> Landmarks:
    """One pass. UsageError for a journal that cannot be replayed."""
    quiet, created = array("q", [0]), dict[Key, Commit]()
    with _states(folder) as states:
        for done in _steps(states):
            reply = done.result.reply
            if reply is None:
                continue
            if not states.under_way:
                quiet.append(done.result.commit)
            if isinstance(reply.value, Created):
                created[reply.value.domid, reply.value.incarnation] = reply.first
    return Landmarks(quiet, created)


def recording(folder: Path, before: Commit, end: Commit) -> Recording:
    """The steps behind commit `before`, after which nothing was under way, up to `end`. As `landmarks`."""
    operations: dict[int, Recorded] = {}
    steps: list[RecordedStep] = []
    with _states(folder) as states:
        start = freeze(states.host) if not before else None
        for done in _steps(states):
            if done.result.commit > end:
                break
            if start is not None:
                steps.append(_keep(done, operations))
            elif done.result.commit == before:
                start = freeze(states.host)
        if start is None:
            raise UsageError(f"{folder}/{JOURNAL}: it ends before commit {before}: reproduce the run anew")
        return Recording(states.host.release, before, start, tuple(operations.values()), tuple(steps))


def _keep(done: Done, operations: dict[int, Recorded]) -> RecordedStep:
    operation, result = done.one.operation, done.result
    if done.one.steps == 1:
        operations[operation.number] = Recorded(
            operation.number, operation.caller, operation.request, result.commit
        )
    if result.reply is not None:
        operations[operation.number].reply = result.reply
    digest = None if result.reply is None else reply_digest(result.reply)
    return RecordedStep(result.commit, done.step.name, operation.number, digest)


@contextmanager
def _states(folder: Path) -> Generator[States]:
    try:
        with (folder / JOURNAL).open("rb") as file:
            yield States(JournalReader(file), JOURNAL)
    except OSError as error:
        raise UsageError(
            f"{folder}/{JOURNAL}: {error.strerror}: nothing can be reproduced without it"
        ) from error
    except (EvidenceError, UnknownError, JournalError) as error:
        raise UsageError(f"{folder}: cannot be replayed: {error} (claimlab check says more)") from error


def _steps(states: States) -> Iterator[Done]:
    return (item for item in states.steps() if not isinstance(item, Clocked))
