"""Holds and faults that each key allows by itself but this scenario cannot have."""

from __future__ import annotations

from collections.abc import Iterator

from hypervisor.public.points import POINTS
from launch.scenario.at_once import schemes_at_once
from launch.scenario.complaints import Fault
from launch.scenario.disturbances import FaultTable, HoldTable
from launch.scenario.models import Scenario
from launch.scenario.plain import Path
from launch.scenario.scenes import host_names, host_of_party, scenes
from launch.scenario.suggestions import did_you_mean

_GUESTS_OWN = tuple(name for name, meaning in POINTS.items() if meaning.startswith("guest:"))


def impossible_disturbances(scenario: Scenario) -> Iterator[Fault]:
    """Every contradiction, each with the key to change."""
    for number, hold in enumerate(scenario.holds):
        yield from _hold(("holds", number), hold, scenario)
    for number, fault in enumerate(scenario.faults):
        yield from _fault(("faults", number), fault, scenario)
    for number, party in enumerate(scenario.links.parties):
        yield from _party(("links", "parties", number), party, scenario)


def _hold(key: Path, hold: HoldTable, scenario: Scenario) -> Iterator[Fault]:
    if host_of_party(hold.party)[1] == "hypervisor":
        yield Fault((*key, "party"), "the hypervisor has no points: hold a guest or a toolstack")
        return
    yield from _party((*key, "party"), hold.party, scenario)
    yield from _point((*key, "at"), hold.party, hold.at)
    yield from _place((*key, "until"), hold.until, scenario)
    yield from _on_one_host((*key, "until"), hold.party, hold.until)


def _fault(key: Path, fault: FaultTable, scenario: Scenario) -> Iterator[Fault]:
    yield from _party((*key, "party"), fault.party, scenario)
    bare = host_of_party(fault.party)[1]
    if fault.kind == "restart" and bare.startswith(("launch", "hypervisor")):
        text = f"{fault.party} cannot be restarted, toolstacks and guests can: write kill or pause"
        yield Fault((*key, "kind"), text)
    if fault.seconds is not None and fault.kind in ("kill", "resume"):
        yield Fault((*key, "seconds"), f"a {fault.kind} has no length: remove it")
    if not isinstance(fault.at, str):
        if fault.at >= scenario.duration:
            text = f"second {fault.at:g} is not before the end (duration = {scenario.duration:g}): lower it"
            yield Fault((*key, "at"), text)
    elif ":" in fault.at:
        yield from _place((*key, "at"), fault.at, scenario)
        yield from _on_one_host((*key, "at"), fault.party, fault.at)
    elif bare == "hypervisor" or fault.kind == "resume":
        who = "the hypervisor has no points" if bare == "hypervisor" else "a paused party comes nowhere"
        yield Fault(
            (*key, "at"), f"{who}: write a second, or another party's point as guest-1:before-populate"
        )
    else:
        yield from _point((*key, "at"), fault.party, fault.at)


def shared_process_faults(scenario: Scenario) -> Iterator[Fault]:
    """Signals reach processes: what a real run cannot do to one guest of several that share one.

    Virtual time can, as it has no processes.
    """
    for number, fault in enumerate(scenario.faults):
        host, bare = host_of_party(fault.party)
        mates = {one.guests.per_process for one in scenes(scenario) if not host or one.host.name == host}
        if bare.startswith("guest-") and max(mates, default=1) > 1:
            text = (
                f"a {fault.kind} would hit every guest that shares its process with {fault.party}: "
                "set guests.per_process = 1, hold it at a point instead, or use claimlab simulate"
            )
            yield Fault(("faults", number, "party"), text)


def _place(key: Path, place: str, scenario: Scenario) -> Iterator[Fault]:
    party, name = place.split(":")
    yield from _party(key, party, scenario)
    yield from _point(key, party, name)


def _party(key: Path, party: str, scenario: Scenario) -> Iterator[Fault]:
    host, bare = host_of_party(party)
    there = next((one for one in scenes(scenario) if one.host.name == host or not scenario.hosts), None)
    if there is None or (host and not scenario.hosts):
        yield Fault(key, _no_such_host(host, bare, scenario))
        return
    kind, _, number = bare.partition("-")
    guests = there.guests.count
    toolstacks = there.toolstack.count * max(len(schemes_at_once(entry)) for entry in scenario.schemes)
    if kind == "guest" and int(number) > guests:
        yield Fault(key, f"no {bare} (guests.count = {guests}, counted from 1): lower the number")
    if kind == "toolstack" and number and int(number) >= toolstacks:
        yield Fault(key, f"no {party} (toolstack.count = {toolstacks}, counted from 0): lower the number")


def _no_such_host(host: str, bare: str, scenario: Scenario) -> str:
    names = host_names(scenario)
    if not names:
        return f'there is one host: write "{bare}" alone'
    if not host:
        return f'there are several hosts: write "{names[0]}/{bare}"'
    return f'no host "{host}"{did_you_mean(host, names)}: name one of {", ".join(names)}'


def _on_one_host(key: Path, party: str, place: str) -> Iterator[Fault]:
    here, there = host_of_party(party)[0], host_of_party(place)[0]
    if here != there:
        yield Fault(key, f"{party} and {place} are on different hosts: name parties of one")


def _point(key: Path, party: str, name: str) -> Iterator[Fault]:
    """Schemes may be plug-ins with points of their own; guests are ours."""
    if host_of_party(party)[1].startswith(("guest", "launch")) and name not in _GUESTS_OWN:
        known = ", ".join(_GUESTS_OWN)
        yield Fault(
            key, f'a guest has no point "{name}"{did_you_mean(name, _GUESTS_OWN)}: name one of {known}'
        )
