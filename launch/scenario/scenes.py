"""A scenario of several hosts taken apart: for each host the scenario that it would be alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hypervisor.public.units import Pages
from launch.scenario.disturbances import FaultTable, HoldTable, LinksTable
from launch.scenario.models import GuestsTable, HostsTable, HostTable, Scenario

UNNAMED: Final = "host"
"""Hosts without a name are host1, host2, ..., counted over all of the file."""


def scenes(scenario: Scenario) -> tuple[Scenario, ...]:
    """One scenario for each host, in the file's order, `hosts` empty and `host.name` unlike any other's.

    Parties lose the host's name before the slash. Without [[hosts]] it is the scenario itself.
    """
    if not scenario.hosts:
        return (scenario,)
    return tuple(scene(scenario, name, table) for _, name, table in named_hosts(scenario))


def named_hosts(scenario: Scenario) -> Iterator[tuple[int, str, HostsTable]]:
    """Every host with its name and the number of its table, counted from 0."""
    before = 0
    for number, table in enumerate(scenario.hosts):
        own = table.name if "name" in table.model_fields_set else None
        for one in range(1, table.count + 1):
            before += 1
            if own is None:
                yield number, f"{UNNAMED}{before}", table
            else:
                yield number, own if table.count == 1 else f"{own}{one}", table


def host_names(scenario: Scenario) -> tuple[str, ...]:
    """In the file's order; empty without [[hosts]]."""
    return tuple(name for _, name, _ in named_hosts(scenario))


def scene(scenario: Scenario, name: str, table: HostsTable) -> Scenario:
    """The scenario of one host."""
    return scenario.model_copy(
        update={
            "host": host_of(scenario, name, table),
            "guests": guests_of(scenario, table),
            "hosts": (),
            "holds": tuple(_holds(scenario.holds, name)),
            "faults": tuple(_faults(scenario.faults, name)),
            "links": _links(scenario.links, name),
        }
    )


def host_of(scenario: Scenario, name: str, table: HostsTable) -> HostTable:
    """[host] with what the host's own table says laid over it."""
    own = {key: getattr(table, key) for key in HostTable.model_fields if key in table.model_fields_set}
    return scenario.host.model_copy(update={**own, "name": name})


def guests_of(scenario: Scenario, table: HostsTable) -> GuestsTable:
    """[guests] with the host's own [hosts.guests] laid over it."""
    own = {key: getattr(table.guests, key) for key in table.guests.model_fields_set}
    return scenario.guests.model_copy(update=own)


def largest_room(scenario: Scenario) -> Pages:
    """Memory beside Xen's own and dom0's of the host that has most of it."""
    return max(room(one.host) for one in scenes(scenario))


def room(host: HostTable) -> Pages:
    """Memory beside Xen's own and dom0's; negative when there is none."""
    return host.memory - host.xen - host.dom0


def host_of_party(party: str) -> tuple[str, str]:
    """ "host1/guest-3" as ("host1", "guest-3"); the host is "" when none is named."""
    host, _, bare = party.rpartition("/")
    return host, bare


def _holds(holds: Iterable[HoldTable], name: str) -> Iterator[HoldTable]:
    for one in holds:
        host, bare = host_of_party(one.party)
        if host == name:
            yield one.model_copy(update={"party": bare, "until": host_of_party(one.until)[1]})


def _faults(faults: Iterable[FaultTable], name: str) -> Iterator[FaultTable]:
    for one in faults:
        host, bare = host_of_party(one.party)
        if host == name:
            at = host_of_party(one.at)[1] if isinstance(one.at, str) else one.at
            yield one.model_copy(update={"party": bare, "at": at})


def _links(links: LinksTable, name: str) -> LinksTable:
    """A host none of whose parties is named has plain links."""
    if not links.parties:
        return links
    own = tuple(bare for host, bare in map(host_of_party, links.parties) if host == name)
    return links.model_copy(update={"parties": own}) if own else LinksTable()
