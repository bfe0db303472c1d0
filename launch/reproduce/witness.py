"""The wrongs that the judge names, as things to reproduce, with the stretch of the journal each lies in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from hypervisor.public.units import Commit
from launch.judge.cases import Case
from launch.judge.report import RunJudgement
from launch.judge.verdict import HostJudgement, Judgement, LaunchJudgement
from launch.reproduce.recording import Landmarks

LATE = "late failure"
MOVED = "moved window"
KINDS = (LATE, Judgement.FALSE_GRANT.value, Judgement.FALSE_REFUSAL.value, MOVED)
"""The gravest first. A moved window alone did nobody any harm that was recorded."""


class Witness(Struct, frozen=True):
    """One launch that was wronged, or nearly."""

    kind: str
    host: str
    """Folder relative to the run, "." for the folder itself."""
    launch: int
    about: str
    """In words."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


def witnesses(judgement: RunJudgement, run: Path) -> tuple[Witness, ...]:
    """Everything that can be reproduced; the gravest kind first, then as the judge has them."""
    found = [
        one
        for hosts in judgement.schemes.values()
        for host in hosts
        for launch in host.launches
        for one in _of_launch(host, launch, run)
    ]
    return tuple(sorted(found, key=lambda one: KINDS.index(one.kind)))


def _of_launch(host: HostJudgement, launch: LaunchJudgement, run: Path) -> Iterator[Witness]:
    where = host.name if (run / host.name).is_dir() else "."
    name = f"{host.name}: launch {launch.order} of {launch.pages:,} pages"
    if launch.failure is not None:
        yield Witness(LATE, where, launch.order, f"{name} was admitted and failed: {launch.reason}")
    elif launch.judgement in (Judgement.FALSE_GRANT, Judgement.FALSE_REFUSAL):
        needed = (
            "" if launch.fit is None else f": {launch.fit.free:,} pages free, {launch.fit.needed:,} needed"
        )
        yield Witness(launch.judgement.value, where, launch.order, f"{name}{needed}")
    elif launch.window is not None and launch.window.witness is not None:
        mover = launch.window.witness
        moved = (
            f"domain {mover.domid} moved {mover.up + mover.down:,} pages between its sample and its decision"
        )
        yield Witness(MOVED, where, launch.order, f"{name}: {moved}")


def stretch(witness: Witness, case: Case, found: Landmarks) -> tuple[Commit, Commit]:
    """From the last quiet commit before the launch's first operation to where the wrong was done."""
    known = [case.sampled or case.decided]
    if case.domain is not None and case.domain in found.created:
        known.append(found.created[case.domain])
    end = case.ended if witness.kind == LATE else case.decided
    return found.quiet_before(min(known)), end


def case_of(cases: Iterable[Case], witness: Witness) -> Case:
    """The launch of a witness."""
    return next(case for case in cases if case.number == witness.launch)
