"""A stretch of a recording as a small world, and what must not come of it.

Judged is the wanted launch: it must not fail after its admission, not be admitted where its memory is not
free, not be refused where it is; and no toolstack may set a limit below what a domain holds that had held
no more than the limit when it was looked at. These, and the invariants of the core, hold for every scheme.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypervisor.core.releases import Release
from hypervisor.public.orders import Outcome, Stage
from hypervisor.public.units import DOMID_DOM0, Pages
from launch.explore.blueprint import Blueprint
from launch.explore.launches import Launches
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party, Setting, SmallWorld
from launch.judge.cases import Case, whole_need
from launch.reproduce.cast import Role
from launch.reproduce.launch_script import LaunchScript, launch_order
from launch.reproduce.prompt import Prompt
from launch.reproduce.recording import Recording
from launch.reproduce.script import Script
from toolstack.interface import Scheme


class RecordedWorld(SmallWorld):
    """Made from a recording; in no catalogue."""

    name = "recorded"
    about = "a stretch of a run"
    closed = False

    def __init__(self, roles: Sequence[Role], wanted: Case, release: Release, steps: int) -> None:
        """`steps` were recorded."""
        super().__init__()
        self.most_steps += 2 * steps
        self.roles = tuple(roles)
        self._wanted = wanted
        self._release = release

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The roles."""
        return [self._party(role, scene) for role in self.roles]

    def _party(self, role: Role, scene: Scene) -> Party:
        caller = role.caller
        case = role.case
        acts: tuple[Act, ...]
        if case is None:
            acts = Script(role.operations).acts()
        elif role.scheming is None:
            acts = (LaunchScript("toolstack", case, role.operations, case is self._wanted).whole,)
        else:
            judged = case is self._wanted
            scheme = role.scheming.new()
            launches = Launches(
                scene,
                "toolstack",
                scheme=Prompt(scheme, scene, role.name) if judged else scheme,
                pages_per_second=role.scheming.pages_per_second,
                judged=judged,
            )
            acts = (launches.act((launch_order(case.order),)),)
        return Party(role.name, acts, domid=caller.domid, incarnation=caller.incarnation)

    def after_step(self, scene: Scene) -> None:
        """Limits and grants that rest on what is no longer, or never was, true."""
        self._limits(scene)
        told = scene.notes.get("told", 0)
        if len(scene.outcomes) > told:
            scene.note("told", len(scene.outcomes))
            for outcome in scene.outcomes[told:]:
                if outcome.order == self._wanted.number and outcome.stage is Stage.ADMITTED:
                    self._granted(outcome, scene)

    def _limits(self, scene: Scene) -> None:
        overtaken = scene.notes.setdefault("overtaken", set())
        for domid in scene.host.domids:
            domain = scene.host.domains[domid]
            if domain.max_pages >= domain.tot_pages or domid == DOMID_DOM0 or domid in overtaken:
                continue
            overtaken.add(domid)
            seen = scene.seen.get(domid)
            if seen is not None and seen <= domain.max_pages:
                scene.violate(
                    "limit overtaken",
                    f"domain {domid} holds {domain.tot_pages} pages and may have {domain.max_pages}: "
                    f"it held {seen} when it was looked at",
                )

    def _granted(self, outcome: Outcome, scene: Scene) -> None:
        """As the judge has it: what the launch had still to take was free and nobody else's claim (C14)."""
        domain = scene.host.find(outcome.domid)
        needed: Pages = whole_need(self._wanted.order, self._release)
        room = scene.unclaimed_at.get(outcome.commit, 0)
        if domain is not None:
            needed = self._wanted.order.pages - domain.tot_pages
            room += domain.outstanding_pages
        if needed > room:
            scene.violate(
                "false grant",
                f"launch {outcome.order} was admitted, {needed} pages from being built: "
                f"{room} were free and nobody's",
            )

    def outcome(self, scene: Scene) -> str:
        """What was violated, or how the launch ended."""
        ended = scene.notes.get(f"launch {self._wanted.number}", "under way")
        return ", ".join(sorted({one.kind for one in scene.violations})) or f"launch {ended}"


def recorded_blueprint(recording: Recording, roles: Sequence[Role], wanted: Case) -> Blueprint:
    """The world with the host as it was when the stretch began."""
    world = RecordedWorld(roles, wanted, recording.release, len(recording.steps))
    return Blueprint(world, Setting(recording.release, _none), recording.start)


def _none() -> Scheme:
    raise AssertionError("every launch brings its scheme")
