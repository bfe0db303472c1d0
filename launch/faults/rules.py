"""A scenario's holds and faults as rules for each party, and the cells through which they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from hypervisor.public.points import NEVER, OVER, Cells, PartyRules, Wait, moment
from hypervisor.public.units import Seconds
from launch.scenario.disturbances import FaultTable, HoldTable
from launch.scenario.models import Scenario

NOTHING: Final = PartyRules()


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One fault: due at a second, or when `cell` is set."""

    table: FaultTable
    party: str
    second: Seconds | None
    cell: int = NEVER
    release: int = NEVER
    """Cell that lets a party go on which waits at its own point for the fault."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a scenario wants of its parties."""

    cells: int
    """How many cells it takes."""
    parties: Mapping[str, PartyRules]
    faults: tuple[FaultRule, ...]
    holds: tuple[tuple[HoldTable, Wait], ...]

    def of(self, party: str) -> PartyRules:
        """What is wanted of one party."""
        return self.parties.get(party, NOTHING)

    def held(self, cells: Cells) -> Iterator[str]:
        """What became of each hold, for the summary."""
        for table, wait in self.holds:
            name, where = canonical(table.party), f"at {table.at}"
            if not cells[wait.begun]:
                yield f"hold: {name} never came {where}"
                continue
            begun = moment(cells[wait.begun])
            where += f" from {begun:.3f} s"
            if wait.until != NEVER and cells[wait.until]:
                yield f"hold: {name} {where} until {table.until} at {_at(cells, wait):.3f} s"
            else:
                yield f"hold: {name} {where} to the end: {table.until} was never reached"


def _at(cells: Cells, wait: Wait) -> Seconds:
    return moment(cells[wait.ended] or cells[wait.until])


@dataclass(slots=True)
class _Draft:
    """Cells given out so far; cell 0 is OVER."""

    next_cell: int = OVER + 1
    signals: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    waits: dict[str, list[Wait]] = field(default_factory=dict[str, list[Wait]])

    def cell(self) -> int:
        self.next_cell += 1
        return self.next_cell - 1

    def signal(self, place: str) -> int:
        """The cell of PARTY:POINT."""
        party, name = place.split(":")
        mine = self.signals.setdefault(canonical(party), {})
        if name not in mine:
            mine[name] = self.cell()
        return mine[name]

    def wait(self, party: str, at: str, after: Seconds, until: int) -> Wait:
        wait = Wait(at, after, self.cell(), self.cell(), until)
        self.waits.setdefault(party, []).append(wait)
        return wait


def compile_rules(scenario: Scenario) -> Rules:
    """The rules of a scenario. A fault at a point comes before a hold there."""
    draft = _Draft()
    faults = tuple(_fault(draft, table) for table in scenario.faults)
    holds = tuple(
        (table, draft.wait(canonical(table.party), table.at, table.after, draft.signal(table.until)))
        for table in scenario.holds
    )
    names = sorted({*draft.signals, *draft.waits})
    parties = {
        name: PartyRules(draft.signals.get(name, {}), tuple(draft.waits.get(name, ()))) for name in names
    }
    return Rules(draft.next_cell, parties, faults, holds)


def _fault(draft: _Draft, table: FaultTable) -> FaultRule:
    party = canonical(table.party)
    if not isinstance(table.at, str):
        return FaultRule(table, party, table.at)
    if ":" in table.at:
        return FaultRule(table, party, None, draft.signal(table.at))
    release = draft.cell()
    wait = draft.wait(party, table.at, table.after, release)
    return FaultRule(table, party, None, wait.begun, release)


def canonical(party: str) -> str:
    """ "toolstack" is the first of them."""
    return "toolstack-0" if party == "toolstack" else party
