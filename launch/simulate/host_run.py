"""One scheme on one host, once, in virtual time: what `launch.cluster.host_run` does with processes.

The guest kernels, the toolstacks' service, schemes and builder, the launcher's book and the accounting are
those of a real run. Only the wire and the clock are not: links have a delay, and nothing else takes time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from guests.kernel.kernel import GuestKernel
from guests.report import GuestReport
from hypervisor.core.host import new_host
from hypervisor.core.machine import Machine
from hypervisor.core.releases import release
from hypervisor.core.sources import refused_allocations
from hypervisor.core.watch import Watch
from hypervisor.public.orders import Dismiss, LaunchOrder, Outcome
from hypervisor.public.units import DOMID_DOM0, Pages, Seconds
from hypervisor.public.world import World
from launch.cluster.control import destroy_all
from launch.cluster.host_config import host_config
from launch.cluster.host_plan import ALONE, HostPlan, HostResult, Others
from launch.cluster.house import House, farewell_notes
from launch.cluster.leftovers import Identified, find_leftovers
from launch.cluster.plans import guest_config
from launch.cluster.population import Resident, populate, reboot, wait_for_balloon_drivers
from launch.cluster.sampler import sample
from launch.faults.links import link_notes, virtual_link
from launch.memory_figures import tallies_of, wrong_contents
from launch.simulate.desk import VirtualDesk
from launch.simulate.disturber import Disturber
from launch.simulate.evidence import Evidence
from launch.simulate.links import Links
from launch.simulate.parties import Parties, VirtualGuest, VirtualToolstack
from launch.simulate.sim_world import SimWorld
from launch.simulate.staff import Staff
from launch.simulate.wires import Wires
from launch.simulate.world import Simulator
from toolstack.builder.build import BuildFailedError

T = TypeVar("T")

BEFORE_TIME: Final[Seconds] = -1.0
"""When the host is populated and its guests boot; the same second for all, since nothing takes time yet."""
LAUNCHER: Final = 1
"""The launcher's incarnation as the control domain; toolstacks follow."""
SAMPLER: Final = 0
"""Of whoever asks for free memory, apart from the launcher."""
FAREWELL_SECONDS: Final[Seconds] = 600.0
"""Emulated seconds for the toolstacks to put back what they changed."""
DRAIN_SECONDS: Final[Seconds] = 1.0
"""Emulated seconds for calls under way at the end."""
USUAL: Final = Links()


@dataclass(slots=True)
class VirtualResult(HostResult):
    """What came of a run in virtual time. Everything in it is a function of plan, scheme and links."""

    steps: int = 0
    """Atomic steps of the hypervisor."""
    host_digest: str = ""
    """Of the host's state at the end, before anything is cleaned up."""
    journal_digest: str = ""
    """Of every byte of the journal; "" when no evidence is kept."""
    evidence: Evidence | None = None


def run_virtual(
    plan: HostPlan,
    scheme: str,
    links: Links = USUAL,
    folder: Path | None = None,
    *,
    evidence: bool = True,
) -> VirtualResult:
    """Run one scheme on one host in virtual time.

    `folder` gets the files that a real run leaves; `evidence=False` keeps none, which is faster. UsageError
    for a host that cannot hold its guests, SchemeError for a scheme that cannot be had.
    """
    run = VirtualRun(plan, scheme, links, evidence or folder is not None)
    result = run.run()
    if folder is not None and result.evidence is not None:
        result.evidence.write(folder)
    return result


class VirtualRun:
    """One run on one host. Make it, call `run`, throw it away."""

    def __init__(
        self, plan: HostPlan, scheme: str, links: Links, evidence: bool, others: Others = ALONE
    ) -> None:
        """`others` is what it is among several hosts."""
        self._plan = plan
        self._scenario = plan.scenario
        delay = None if plan.scenario.links.parties else plan.scenario.links.delay  # else it is theirs alone
        self._links = links if delay is None else Links(delay)
        self._result = VirtualResult()
        self._house = House(plan, self._result, others)
        self._others = others
        self.free_pages: Pages = 0
        """What the host answered when last asked."""
        self._parties = Parties()
        config = host_config(plan.scenario.host)
        self._machine = Machine(new_host(config, release(plan.scenario.release)))
        self._watch = Watch(self._machine.host)
        self._evidence = (
            Evidence(plan.scenario.release, config, lambda: self._simulator.now, -BEFORE_TIME)
            if evidence
            else None
        )
        self._simulator = Simulator(
            self._machine,
            observe=None if self._evidence is None else self._evidence.step,
            history=self._evidence,
            watch=lambda: self._note_violations(self._watch.look_when_due(self._simulator.pending)),
            batch=True,
        )
        self._simulator.now = BEFORE_TIME
        self._launcher = self._control_world(LAUNCHER, "launcher-1", Random(0))
        self._wires = Wires(self._simulator, plan.scenario.release, self._note)
        self._disturber = Disturber(plan.scenario, self._simulator, self._parties, self._start_again)
        self._desk = VirtualDesk(
            self._simulator,
            self._house,
            self._evidence,
            plan.scenario.duration,
            self._start_guest,
            self._move_out,
        )
        self._staff = Staff(plan, scheme, self._simulator, self._parties, self._join, self._reported)

    def run(self) -> VirtualResult:
        """From nothing to nothing."""
        self.come_up()
        self.begin()
        self.go_on(self._scenario.duration)
        return self.finish()

    def come_up(self) -> None:
        """Guests and toolstacks in place, before time begins. UsageError for guests that do not fit."""
        residents = self._ask(lambda world: populate(world, self._plan.guests, self._scenario))
        for one in residents:
            self._start_guest(one)
        self._ask(lambda world: wait_for_balloon_drivers(world, residents))
        self._simulator.link_delay = self._links.delay  # coming up takes no time
        self._staff.start()
        if self._others.period is not None:
            self._launcher.spawn(sample(self._sampler(), self._others.period, self._answered), "sampler")
        self._go_on(until=0.0)

    def _sampler(self) -> SimWorld:
        return self._control_world(SAMPLER, "sampler", Random(0))

    def _answered(self, pages: Pages) -> None:
        self.free_pages = pages

    def begin(self) -> None:
        """Second 0."""
        for party in self._parties.everyone():
            self._wire(party.party, party.world)
        self._disturber.begin()
        self._desk.keep_house(self._staff)

    def go_on(self, until: Seconds, stop: Callable[[], bool] = lambda: False) -> None:
        """Live to that second, to the hypervisor's end, or until `stop()` says so."""
        self._go_on(until, lambda: self._disturber.hypervisor_killed or stop())

    @property
    def now(self) -> Seconds:
        """Emulated."""
        return self._simulator.now

    @property
    def is_lost(self) -> bool:
        """True once its hypervisor was killed."""
        return self._disturber.hypervisor_killed

    def next_moment(self) -> Seconds | None:
        """When something happens here next; None when nothing does."""
        simulator = self._simulator
        return simulator.now if simulator.is_busy() else simulator.loop.next_timer()

    def place(self, order: LaunchOrder, at: Seconds) -> None:
        """An order from among several hosts, due at `at`, not before `now`."""
        self._house.place(order, at)
        self._desk.look_again(self._staff)

    def underway(self) -> Iterator[int]:
        """Orders of whose end nothing has been heard."""
        return self._house.underway()

    def finish(self) -> VirtualResult:
        """Everybody leaves, and the books are closed."""
        if self._disturber.hypervisor_killed:
            return self._cut_short("the hypervisor was killed")
        self._disturber.end()
        self._dismiss_toolstacks()
        self._stop_guests()
        self._close_books()
        return self._result

    # ---- the machine's side

    def _note_violations(self, found: list[str]) -> None:
        for text in found:
            self._note("violation", {"text": text})

    def _note(self, kind: str, fields: Mapping[str, Any]) -> None:
        if self._evidence is not None:
            self._evidence.note(kind, fields)

    def _go_on(self, until: Seconds, stop: Callable[[], bool] | None = None) -> None:
        """Let everybody live; a party that raises is lost, and the others go on."""
        while True:
            try:
                self._simulator.run(until, stop)
            except Exception as error:  # a plug-in may raise anything
                self._lose(error)
            else:
                return

    def _lose(self, error: Exception) -> None:
        world = self._simulator.failed()
        if world is None or world is self._launcher:
            raise error
        for one in [one for one in self._parties.everyone() if one.world is world]:
            self._disturber.kill(one)
            self._result.notes.append(f"{one.name} ended: {type(error).__name__}: {error}")

    def _ask(self, body: Callable[[World], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine as the control domain while the others go on. Raises what it raised."""
        task = self._launcher.spawn(body(self._launcher), "launcher")
        while not task.done():
            self._go_on(self._simulator.now + FAREWELL_SECONDS, task.done)
        return task.result()

    # ---- parties

    def _control_world(self, incarnation: int, name: str, rng: Random) -> SimWorld:
        if self._evidence is not None:
            header = {} if incarnation == LAUNCHER else {"toolstack": name}
            self._evidence.enter((DOMID_DOM0, incarnation), name, header)
        return self._simulator.world(DOMID_DOM0, incarnation, rng)

    def _wire(self, party: str, world: SimWorld) -> None:
        """Its link goes bad if the scenario says so; before second 0 nobody's is."""
        spec = virtual_link(self._scenario, self._plan.repeat, party, self._links.delay)
        if spec is not None and self._simulator.now >= 0 and world.wire is None:
            self._wires.connect(world, spec)

    def _start_guest(self, resident: Resident) -> None:
        config = guest_config(
            self._scenario, resident.plan, resident.kind, resident.identity, resident.frames
        )
        if self._evidence is not None:
            self._evidence.enter(resident.key, f"guests/{config.name}", {"guests": [config.name]})
        world = self._simulator.world(config.domid, config.incarnation, Random(config.seed))
        self._disturber.hang(world, resident.party)
        self._wire(resident.party, world)
        kernel = GuestKernel(world, config, behaviours=self._plan.plugins.behaviours)
        guest = VirtualGuest(config.name, resident, world, kernel)
        self._parties.guests.append(guest)
        self._parties.inhabitants[resident.key] = guest
        self._house.moved_in(resident)
        world.spawn(kernel.run(), config.name)

    def _join(self, name: str, before: int, rng: Random) -> SimWorld:
        """The world of a toolstack; `before`: how many there were."""
        world = self._control_world(LAUNCHER + 1 + before, name, rng)
        self._disturber.hang(world, name)
        self._wire(name, world)
        return world

    def _start_again(self, one: VirtualToolstack | VirtualGuest) -> None:
        """A new life for one that was killed."""
        if isinstance(one, VirtualToolstack):
            self._staff.start_again(one)
        else:
            self._launcher.spawn(self._reboot(one), "reboot")

    async def _reboot(self, guest: VirtualGuest) -> None:
        del self._parties.inhabitants[guest.resident.key]
        try:
            self._start_guest(await reboot(self._launcher, guest.resident))
        except BuildFailedError as short:
            self._result.notes.append(f"fault: {guest.party}'s domain could not be built anew: {short}")

    def _reported(self, outcome: Outcome) -> None:
        self._simulator.after_link(partial(self._desk.heard, self._staff, outcome))

    def _move_out(self, domain: Identified) -> None:
        self._stop_guest(self._parties.inhabitants.pop(domain))

    # ---- going down

    def _dismiss_toolstacks(self) -> None:
        staff = self._parties.at_work()
        for one in staff:
            one.service.take(Dismiss())
        self._go_on(
            self._simulator.now + FAREWELL_SECONDS,
            lambda: all(one.lost or one.service.finished for one in staff),
        )
        for one in staff:
            if one.service.finished:
                self._result.notes += farewell_notes(one.name, one.service.farewell())
            elif not one.lost:
                text = f"{one.name}: no farewell within {FAREWELL_SECONDS:g} s, stopped"
                self._result.notes.append(text)
            self._simulator.kill(one.world)

    def _stop_guests(self) -> None:
        for guest in self._parties.guests:
            self._stop_guest(guest)
        self._go_on(self._simulator.now)
        self._collect_reports()

    def _stop_guest(self, guest: VirtualGuest) -> None:
        if not guest.lost:
            guest.kernel.stop()

    def _collect_reports(self) -> None:
        reports = [guest.report() for guest in self._parties.guests]
        self._result.reports = tuple(sorted(reports, key=_by_domain))
        if self._evidence is not None:
            self._evidence.reports(self._result.reports)

    def _cut_short(self, reason: str) -> VirtualResult:
        """What is known when the hypervisor was lost: an invalid run, with the reason."""
        self._result.violations += (f"the run ended early: {reason}",)
        self._result.notes += self._disturber.notes()
        self._collect_reports()
        self._keep_evidence()
        return self._result

    def _close_books(self) -> None:
        """Leftovers first, then the clean-up, then whether the books balance."""
        running = tuple(self._parties.inhabitants)
        found = self._ask(lambda world: find_leftovers(world, self._house.lifetime_max, running))
        self._result.leftovers = found
        self._result.host_digest = self._machine.host.digest().hex()
        self._ask(destroy_all)
        self._go_on(self._simulator.now + DRAIN_SECONDS)
        self._note_violations(self._watch.look_at_everything(self._simulator.pending()))
        self._result.violations = (*self._watch.violations, *wrong_contents(self._result.reports))
        if not any(one.lost for one in self._parties.everyone()):
            self._result.violations += tuple(f"I10: left over: {line}" for line in found)
        self._result.notes += self._disturber.notes()
        self._result.notes += link_notes(self._scenario.links, self._wires.repeated)
        self._end_journal()
        self._keep_evidence()

    def _end_journal(self) -> None:
        growth = {source.value: pages for source, pages in self._machine.host.growth.items()}
        refused = refused_allocations(self._simulator.refused)
        self._result.growth, self._result.refused = tallies_of({"growth": growth, "refused": refused})
        self._result.crashed = self._machine.host.crashed
        if self._evidence is None:
            return
        self._evidence.end(
            {
                "steps": self._simulator.steps,
                "commit": self._machine.commit,
                "growth": growth,
                "crashed": self._result.crashed,
                "violations": self._watch.violations,
                "host_digest": self._result.host_digest,
            }
        )

    def _keep_evidence(self) -> None:
        self._result.steps = self._simulator.steps
        if self._evidence is None:
            return
        self._evidence.close()
        self._result.journal_digest = self._evidence.journal_digest()
        self._result.evidence = self._evidence


def _by_domain(report: GuestReport) -> Identified:
    return report.domid, report.incarnation
