"""One scheme on one host, once: processes up, orders out, outcomes in, everything down again."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals
from typing import Final, TypeVar

from tenacity import RetryError, Retrying, retry_if_not_result, stop_after_delay, wait_fixed

from guests.process import GuestProcess, guests_process, read_reports
from hypervisor.edge import IDLE_MS, Clock
from hypervisor.process import ServeConfig, serve_process
from hypervisor.public.lag import Lag
from hypervisor.public.observation import OBSERVERS
from hypervisor.public.orders import DestroyOrder, LaunchOrder, Outcome
from hypervisor.public.units import Pages, Seconds
from hypervisor.public.world import IndefiniteError, RefusedByWireError, World
from hypervisor.transport import Server, ipc_endpoints, tcp_endpoints
from launch.cluster.control import Control, ControlLostError, destroy_all, measure_round_trip
from launch.cluster.crew import TERM_SECONDS, Crew, Member
from launch.cluster.crowd import patience, report_every
from launch.cluster.desk import ROLE, Desk, News
from launch.cluster.host_config import host_config
from launch.cluster.host_plan import ALONE, HostPlan, HostResult, Others
from launch.cluster.house import House, farewell_notes
from launch.cluster.leftovers import Identified, find_leftovers
from launch.cluster.plans import guest_config
from launch.cluster.population import Resident, populate, reboot, wait_for_balloon_drivers
from launch.cluster.sampler import Sampler
from launch.cluster.steered import SteeredHost
from launch.cluster.toolstacks import LOOK_MS, Access, Toolstacks
from launch.faults.book import Act, FaultBook, Verb
from launch.faults.links import link_notes, real_link
from launch.faults.rules import compile_rules
from launch.live.access import RunName, let_attach
from launch.live.steering import UNATTENDED, Steering
from launch.memory_figures import tallies_of, wrong_contents
from launch.records import append_order, append_outcome, ordered
from launch.service import service_told
from toolstack.builder.build import BuildFailedError

READY_SECONDS: Final = 60.0
"""Real seconds for a party to come up, and for the hypervisor to close its books."""

FAULT_LOOK_MS: Final = 1
"""Longest real wait while faults are to come."""

T = TypeVar("T")


class PartyLostError(Exception):
    """The hypervisor, or every toolstack, ended in the middle of a run."""


class HostRun:
    """One run on one host. Make it, call `run`, throw it away."""

    def __init__(
        self,
        plan: HostPlan,
        scheme: str,
        folder: Path,
        sockets: Path,
        crew: Crew,
        say: Callable[[str], None],
        others: Others = ALONE,
        steering: Steering = UNATTENDED,
    ) -> None:
        """`folder` keeps what remains, `sockets` (short path, mode 0700) goes with the run.

        `others` is what it is among several hosts. Raises `EndpointError` when the sockets cannot be there.
        """
        self._plan = plan
        self._name = RunName(plan.scenario.host.name, scheme, plan.repeat)
        self._scenario = plan.scenario
        self._folder = folder
        self._crew = crew
        self._control_secret = secrets.token_bytes(32)
        self._orders_secret = secrets.token_bytes(32)
        self._endpoints = self._addresses(sockets, ("guests", "toolstacks", OBSERVERS))
        self._server = Server(self._addresses(sockets, (ROLE,)))
        self._desk = Desk(self._server, self._orders_secret)
        self._started: Member | None = None
        self._sampler = Sampler(crew)
        self._epoch = crew.shared_epoch()
        self._clock = Clock(self._scenario.speed, self._epoch)
        self._result = HostResult()
        self._rules = compile_rules(plan.scenario)
        self._cells = crew.shared_cells(self._rules.cells)
        self._book = FaultBook(self._rules, self._cells)
        self._toolstacks = Toolstacks(
            plan.scenario,
            scheme,
            plan.repeat,
            plan.plugins.schemes,
            folder,
            crew,
            self._epoch,
            say,
            self._rules,
            self._cells,
        )
        self._guests: dict[Identified, Member] = {}
        self._steered = SteeredHost(self._name.host, crew, self._epoch, self._guests, self._result.notes)
        self._steering = steering
        self._residents: dict[str, Resident] = {}
        self._others = others
        self._house = House(plan, self._result, others)
        guests = self._scenario.guests
        self._patience = patience(guests.count / guests.per_process)
        (folder / "guests").mkdir(exist_ok=True)

    def run(self) -> HostResult:
        """From nothing to nothing. PartyLostError when the hypervisor does not live to the end."""
        self.come_up()
        self.begin(time.monotonic_ns() + self.head_start_ns)
        while not self.is_over:
            self.live(LOOK_MS)
        return self.finish()

    def come_up(self) -> None:
        """Hypervisor, guests and toolstacks, before emulated time begins."""
        self._started = self._start_hypervisor()
        self._result.round_trip = self._ask(measure_round_trip)
        residents = self._ask(lambda world: populate(world, self._plan.guests, self._scenario))
        self._start_guests(residents)
        self._ask(lambda world: wait_for_balloon_drivers(world, residents), self._crew.trouble)
        access = Access(
            self._endpoints["toolstacks"],
            self._control_secret,
            self._server.endpoints[ROLE],
            self._orders_secret,
        )
        for news in self._toolstacks.start(access, self._desk):
            self._take_news(news)
        if self._others.period is not None:
            control = Control(access.endpoint, self._control_secret, self._folder)
            member = self._sampler.start(control, self._clock, self._others.period)
            self._await(lambda: self._sampler.has_answer or not member.alive, member)

    def begin(self, epoch_ns: int) -> None:
        """Everybody is up: emulated time begins."""
        self._epoch.value = epoch_ns
        self._steering.join(self._steered)

    @property
    def head_start_ns(self) -> int:
        """How long before it emulated time's beginning has to be known, so that nobody oversleeps it."""
        return 0 if self._patience == 1 else round(self._patience * IDLE_MS * 1e6)

    @property
    def clock(self) -> Clock:
        """Emulated time on this host; it stands still while the run does."""
        return self._clock

    @property
    def is_over(self) -> bool:
        """True when the duration is."""
        return self._clock.now() >= self._scenario.duration

    def place(self, order: LaunchOrder, at: Seconds) -> None:
        """An order from among several hosts, due at `at`."""
        self._house.place(order, at)

    def free_pages(self) -> Pages:
        """What the host answered when last asked; `others.period` says how often it is."""
        return self._sampler.free_pages

    def underway(self) -> Iterator[int]:
        """Orders of whose end nothing has been heard."""
        return self._house.underway()

    def dismiss(self) -> None:
        """No more orders, for those to begin with who have to put something back."""
        self._desk.dismiss()

    def finish(self) -> HostResult:
        """Everybody leaves, and the books are closed."""
        for party in self._book.end(self._clock.now()):
            self._signal(party, SIGCONT)
        for news in self._toolstacks.dismiss(self._desk):
            self._take_news(news)
        self._stop_guests()
        self._close_books()
        return self._result

    def close(self) -> None:
        """No more orders: the socket goes."""
        self._steering.leave(self._steered)
        self._server.close()

    @property
    def _hypervisor(self) -> Member:
        assert self._started is not None, "come_up comes first"
        return self._started

    def _ask(self, body: Callable[[World], Awaitable[T]], trouble: Callable[[], object] = lambda: False) -> T:
        """Run a coroutine as the control domain. PartyLostError, naming who is to blame, if it cannot end."""
        control = Control(self._endpoints["toolstacks"], self._control_secret, self._folder)
        try:
            return control.run(body, lambda: not self._hypervisor.alive or bool(trouble()))
        except (ControlLostError, RefusedByWireError, IndefiniteError) as error:
            raise PartyLostError("; ".join(self._crew.failures()) or str(error)) from error

    def cut_short(self, reason: str) -> HostResult:
        """What is known when a party was lost: an invalid run, with the reason."""
        self._result.violations += (f"the run ended early: {reason}",)
        self._result.notes += [*self._crew.failures(), *self._book.notes()]
        self._result.reports = read_reports(self._folder / "guests")
        return self._result

    # ---- coming up

    def _addresses(self, sockets: Path, roles: Sequence[str]) -> dict[str, str]:
        if self._scenario.transport == "tcp":
            return tcp_endpoints(dict.fromkeys(roles, 0))
        return ipc_endpoints(sockets, roles)

    def _start_hypervisor(self) -> Member:
        ready = self._folder / "hypervisor-ready.json"
        config = ServeConfig(
            host=host_config(self._scenario.host),
            release=self._scenario.release,
            endpoints=self._endpoints,
            host_key=secrets.token_bytes(32),
            control_secret=self._control_secret,
            journal=self._folder / "journal.msgpack",
            ready=ready,
            stats=self._folder / "hypervisor.json",
            lease_ms=max(1, round(self._scenario.host.lease * 1000 / self._scenario.speed)),
            speed=self._scenario.speed,
            epoch_ns=self._epoch,
        )
        member = self._crew.start("hypervisor", serve_process, config)
        self._await(lambda: ready.exists() or not member.alive, member)
        self._endpoints = json.loads(ready.read_text(encoding="utf-8"))["endpoints"]  # with real ports
        let_attach(self._folder, self._endpoints, self._control_secret, self._name, self._scenario)
        return member

    def _await(self, condition: Callable[[], bool], member: Member) -> None:
        try:
            Retrying(
                retry=retry_if_not_result(bool), stop=stop_after_delay(READY_SECONDS), wait=wait_fixed(0.005)
            )(condition)
        except RetryError:
            raise PartyLostError(f"{member.role} did not come up in {READY_SECONDS:g} s") from None
        if not member.alive:
            raise PartyLostError(member.ending())

    def _start_guests(self, residents: Sequence[Resident]) -> None:
        per_process = self._scenario.guests.per_process
        for first in range(0, len(residents), per_process):
            self._start_guest_process(residents[first : first + per_process])

    def _start_guest_process(self, residents: Sequence[Resident]) -> None:
        configs = tuple(
            guest_config(self._scenario, one.plan, one.kind, one.identity, one.frames) for one in residents
        )
        process = GuestProcess(
            endpoint=self._endpoints["guests"],
            speed=self._scenario.speed,
            epoch_ns=self._epoch,
            guests=configs,
            reports=self._folder / "guests",
            stops={
                config.name: self._rules.parties[one.party]
                for one, config in zip(residents, configs, strict=True)
                if one.party in self._rules.parties
            },
            cells=self._cells,
            bad_link=real_link(self._scenario, self._plan.repeat, residents[0].party),
            patience=self._patience,
            report_every=report_every(self._scenario.guests.count),
            history=self._folder / "guests" / f"{configs[0].name}.history",
        )
        member = self._crew.start(configs[0].name, guests_process, process, self._plan.plugins.behaviours)
        for one in residents:
            self._guests[one.key] = member
            self._residents[one.party] = one
            self._house.moved_in(one)

    # ---- the run itself

    def live(self, look_ms: int) -> None:
        """Orders out that are due, built domains started, old ones ended; news for up to so many real ms."""
        self._steering.look()
        if not self._hypervisor.alive:
            raise PartyLostError(self._hypervisor.ending())
        for order in self._house.due(self._clock.now()):
            self._order(order)
        for act in self._book.due(self._clock.now()):
            self._book.did(act, self._clock.now(), self._do(act))
        self._take_news(self._desk.look(look_ms if self._book.is_idle else FAULT_LOOK_MS))

    def _do(self, act: Act) -> str:
        """What a fault asks for; why not, or ""."""
        member = self._member(act.party)
        if member is None:
            return "there is no such process"
        match act.verb:
            case Verb.KILL:
                self._crew.kill(member)
            case Verb.PAUSE:
                self._crew.signal(member, SIGSTOP)
            case Verb.RESUME:
                self._crew.signal(member, SIGCONT)
            case Verb.START:
                return self._start_again(act.party)
        return ""

    def _member(self, party: str) -> Member | None:
        if party == "hypervisor":
            return self._hypervisor
        resident = self._residents.get(party)
        return self._toolstacks.member(party) if resident is None else self._guests.get(resident.key)

    def _signal(self, party: str, number: Signals) -> None:
        member = self._member(party)
        if member is not None:
            self._crew.signal(member, number)

    def _start_again(self, party: str) -> str:
        if party not in self._residents:
            self._toolstacks.start_again(party)
            return ""
        resident = self._residents.pop(party)
        del self._guests[resident.key]
        try:
            self._start_guest_process([self._ask(lambda world: reboot(world, resident))])
        except BuildFailedError as short:
            return f"its domain could not be built anew: {short}"
        return ""

    def _order(self, order: LaunchOrder | DestroyOrder) -> None:
        if isinstance(order, LaunchOrder):
            now = self._clock.now()
            append_order(self._folder, ordered(order, now))
            self._house.ordered(order, now, self._desk.launch(order))
            return
        self._crew.dismiss(self._guests.pop(self._house.inhabitant(order)))
        if not self._desk.destroy(order):
            self._house.not_destroyed(order)

    def _take_news(self, news: News) -> None:
        self._result.notes += news.complaints
        for _, outcome in news.outcomes:
            self._take_outcome(outcome)
        for one in news.farewells:
            assert one.farewell is not None
            self._result.notes += farewell_notes(one.name, one.farewell)
            self._result.lags[one.name] = one.farewell.lag or Lag()

    def _take_outcome(self, outcome: Outcome) -> None:
        """What the toolstacks said, in the order in which it was heard."""
        append_outcome(self._folder, outcome)
        resident = self._house.heard(outcome)
        if resident is not None:
            self._start_guest_process([resident])

    # ---- going down

    def _stop_guests(self) -> None:
        members = list(dict.fromkeys(self._guests.values()))
        members += self._sampler.members
        for member in members:
            self._crew.dismiss(member)
        crowded = patience(self._scenario.guests.count / 10)  # each guest's report is to be written
        self._crew.wait_for(members, TERM_SECONDS * crowded)
        self._result.reports = read_reports(self._folder / "guests")

    def _close_books(self) -> None:
        """Leftovers first, then the clean-up, then what the hypervisor itself says about its books."""
        running, lifetime_max = tuple(self._guests), self._house.lifetime_max
        found = self._ask(lambda world: find_leftovers(world, lifetime_max, running))
        self._result.leftovers = found
        self._ask(destroy_all)
        self._crew.dismiss(self._hypervisor)
        self._crew.wait_for([self._hypervisor], READY_SECONDS)
        failures = self._crew.failures()
        self._result.notes += [*failures, *self._book.notes()]
        stats = self._folder / "hypervisor.json"
        if not stats.exists():
            raise PartyLostError(f"{self._hypervisor.ending()}, before it had closed its books")
        told = json.loads(stats.read_text(encoding="utf-8"))
        self._result.growth, self._result.refused = tallies_of(told)
        self._result.crashed = told["crashed"]
        self._result.lags["hypervisor"] = Lag(**told["lag"])
        self._result.violations = (*told["violations"], *wrong_contents(self._result.reports))
        self._result.notes += link_notes(self._scenario.links, told["repeated"])
        self._result.notes += service_told(self._result.reports, self._folder)
        if not failures:
            self._result.violations += tuple(f"I10: left over: {line}" for line in found)
