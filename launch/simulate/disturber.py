"""Holds and faults of a scenario in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from hypervisor.public.units import Seconds
from launch.faults.book import Act, FaultBook, Verb
from launch.faults.rules import compile_rules
from launch.scenario.models import Scenario
from launch.simulate.cells import VirtualCells
from launch.simulate.parties import Parties, VirtualGuest, VirtualToolstack
from launch.simulate.sim_world import SimWorld
from launch.simulate.world import Simulator


class Disturber:
    """Does to the parties of one run what the scenario asks for, when it is due."""

    def __init__(
        self,
        scenario: Scenario,
        simulator: Simulator,
        parties: Parties,
        start_again: Callable[[VirtualToolstack | VirtualGuest], None],
    ) -> None:
        self._simulator = simulator
        self._parties = parties
        self._start_again = start_again
        self._rules = compile_rules(scenario)
        self._cells = VirtualCells(self._rules.cells, simulator.loop, self._look)
        self._book = FaultBook(self._rules, self._cells)
        self._called_at: Seconds | None = None
        self.hypervisor_killed = False

    def hang(self, world: SimWorld, party: str) -> None:
        """Let the scenario stop that party at its points."""
        rules = self._rules.parties.get(party)
        if rules is not None:
            self._cells.hang(world, rules)

    def begin(self) -> None:
        """Time begins."""
        self._look()

    def end(self) -> None:
        """The run is over: nobody is held or paused any more."""
        for party in self._book.end(self._simulator.now):
            self._do(Act(self._simulator.now, party, Verb.RESUME))

    def notes(self) -> list[str]:
        """What was done to whom."""
        return self._book.notes()

    def _look(self) -> None:
        now = self._simulator.now
        for act in list(self._book.due(now)):
            self._book.did(act, now, self._do(act))
        due = self._book.next_second()
        if due is not None and (self._called_at is None or due < self._called_at):
            self._called_at = due
            self._simulator.loop.call_at(due, self._called)

    def _called(self) -> None:
        self._called_at = None
        self._look()

    def _do(self, act: Act) -> str:
        """Why not, or ""."""
        if act.party == "hypervisor":
            self._simulator.stopped = act.verb is not Verb.RESUME
            self.hypervisor_killed = self.hypervisor_killed or act.verb is Verb.KILL
            return ""
        one = self._parties.find(act.party)
        if one is None:
            return "there is no such party"
        match act.verb:
            case Verb.KILL:
                self.kill(one)
            case Verb.PAUSE:
                one.world.stop()
            case Verb.RESUME:
                one.world.resume()
            case Verb.START:
                self._start_again(one)
        return ""

    def kill(self, one: VirtualToolstack | VirtualGuest) -> None:
        """It never moves again; a guest's figures are those of this moment."""
        if isinstance(one, VirtualGuest):
            one.last_report = one.report()
        one.lost = True
        self._simulator.kill(one.world)
