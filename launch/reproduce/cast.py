"""Who did what in a stretch: its operations dealt out to parties."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from hypervisor.core.steps import Caller
from hypervisor.public.domctl import Created
from hypervisor.public.units import DOMID_DOM0
from launch.errors import UsageError
from launch.explore.launches import AT_ONCE
from launch.explore.schedule import LETTERS
from launch.judge.cases import Case
from launch.reproduce.launch_script import launch_order
from launch.reproduce.recording import Recorded, Recording
from launch.reproduce.rehearsal import rehearse
from toolstack.interface import Scheme


@dataclass(frozen=True, slots=True)
class Scheming:
    """The scheme that ran, and the pace of its builds; what a launch needs to be played anew."""

    name: str
    new: Callable[[], Scheme]
    pages_per_second: float


@dataclass(frozen=True, slots=True)
class Role:
    """One party."""

    name: str
    caller: Caller
    operations: tuple[Recorded, ...]
    case: Case | None = None
    """The launch that it is; None for a guest, or for what else a toolstack did."""
    scheming: Scheming | None = None
    """It is played by its scheme and not by its script."""


def cast(
    recording: Recording, cases: Iterable[Case], wanted: Case, scheming: Scheming | None
) -> tuple[Role, ...]:
    """The wanted launch first, then other launches, what else toolstacks did, and the guests."""
    left = {one.number: one for one in recording.operations}
    roles: list[Role] = []
    for case in sorted(cases, key=lambda case: (case.number != wanted.number, case.number)):
        role = _launch(case, tuple(left.values()), scheming)
        if role is not None:
            roles.append(role)
            for one in role.operations:
                del left[one.number]
    callers: dict[Caller, list[Recorded]] = {}
    for one in left.values():
        callers.setdefault(one.caller, []).append(one)
    for caller in sorted(callers, key=lambda caller: (caller.domid != DOMID_DOM0, caller.domid)):
        name = f"guest {caller.domid}" if caller.domid != DOMID_DOM0 else "dom0"
        roles.append(Role(name, caller, tuple(callers[caller])))
    if len(roles) > len(LETTERS):
        raise UsageError(
            f"{len(roles)} parties act in this stretch, schedules have letters for {len(LETTERS)}: "
            "choose another witness with --witness"
        )
    return tuple(roles)


def hurry(roles: Iterable[Role]) -> tuple[Role, ...]:
    """The same, but builds by a scheme take no emulated time."""
    return tuple(
        one
        if one.scheming is None
        else replace(one, scheming=replace(one.scheming, pages_per_second=AT_ONCE))
        for one in roles
    )


def _launch(case: Case, operations: Sequence[Recorded], scheming: Scheming | None) -> Role | None:
    for caller in dict.fromkeys(one.caller for one in operations if one.caller.domid == DOMID_DOM0):
        of_caller = tuple(one for one in operations if one.caller == caller)
        if not any(_begins(one, case) for one in of_caller):
            continue
        name = f"launch {case.number}"
        if scheming is not None:
            order = launch_order(case.order)
            own = rehearse(scheming.new(), order, case, of_caller, scheming.pages_per_second)
            if own is not None:
                return Role(name, caller, own, case, scheming)
        own = tuple(one for one in of_caller if _belongs(one, case))
        return Role(name, caller, own, case)
    return None


def _begins(one: Recorded, case: Case) -> bool:
    """It is the launch's first reading, or makes its domain."""
    return one.first == case.sampled or _makes(one, case)


def _makes(one: Recorded, case: Case) -> bool:
    made = None if one.reply is None else one.reply.value
    return isinstance(made, Created) and (made.domid, made.incarnation) == case.domain


def _belongs(one: Recorded, case: Case) -> bool:
    """It is about the launch's domain, or was made between its first reading and its decision."""
    if _makes(one, case) or (
        case.domain is not None and getattr(one.request, "domid", None) == case.domain[0]
    ):
        return True
    return one.last is not None and case.sampled <= one.first and one.last <= case.decided
