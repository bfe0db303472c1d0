"""What several hosts cannot be together: names that clash, a policy without hosts, one host's own faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from launch.scenario.complaints import Fault
from launch.scenario.models import HostsTable, Scenario
from launch.scenario.placement import PlacementTable
from launch.scenario.plain import Path
from launch.scenario.scenes import host_names, named_hosts, scene
from launch.scenario.suggestions import did_you_mean


def several_faults(scenario: Scenario, of_host: Callable[[Scenario], Iterator[Fault]]) -> Iterator[Fault]:
    """Every contradiction, each with the key to change. `of_host` finds those of one host's scenario."""
    if not scenario.hosts:
        yield from of_host(scenario)
        if scenario.placement != PlacementTable():
            yield Fault(("placement",), "one host is no choice: add [[hosts]] tables, or drop [placement]")
        return
    clashes = list(_same_names(scenario))
    if clashes:
        yield from clashes
        return
    yield from _alternates(scenario)
    found = (
        Fault(_key(fault.key, number, table), f"{name}: {fault.text}")
        for number, name, table in named_hosts(scenario)
        for fault in of_host(scene(scenario, name, table))
    )
    yield from {fault.key: fault for fault in found}.values()  # of hosts alike, one is enough


def _key(key: Path, number: int, table: HostsTable) -> Path:
    """Where a host's key stands: in its own table, or among the defaults."""
    section, name = key[0], str(key[1])
    if section == "host" and name in table.model_fields_set:
        return ("hosts", number, *key[1:])
    if section == "guests" and name in table.guests.model_fields_set:
        return ("hosts", number, *key)
    return key


def _same_names(scenario: Scenario) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, name, _ in named_hosts(scenario):
        if name in seen:
            yield Fault(("hosts", number, "name"), f'two hosts are called "{name}": give one another name')
        seen.add(name)


def _alternates(scenario: Scenario) -> Iterator[Fault]:
    names, wanted = host_names(scenario), scenario.placement.alternates
    key: Path = ("placement", "alternates")
    if scenario.placement.policy == "alternates" and not wanted:
        listed = ", ".join(f'"{name}"' for name in names[:2])
        yield Fault(key, f"missing, the policy needs it: add alternates = [{listed}]")
    if wanted and scenario.placement.policy != "alternates":
        text = f'policy = "{scenario.placement.policy}" does not look at it: set policy = "alternates"'
        yield Fault(key, text)
    for name in wanted:
        if name not in names:
            known = ", ".join(names)
            yield Fault(key, f'no host "{name}"{did_you_mean(name, names)}: name one of {known}')
        elif wanted.count(name) > 1:
            yield Fault(key, f'"{name}" is named twice: name it once')
            return
