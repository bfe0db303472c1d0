"""What a small world is: a host, what is set up on it, who then moves, and what must not come of it.

    class Rush(SmallWorld):
        name = "rush"
        about = "two domains populate two thirds of free memory each"
        host = HostConfig((1024,), dom0_pages=64, xen_pages=64)

        async def set_up(self, world):                 # once, alone, as dom0
            return await new_domains(world, 2)         # whatever is returned is scene.facts afterwards

        def parties(self, scene):                      # anew for every schedule
            return [Party(f"builder {n}", (populate(domid, 600),)) for n, domid in enumerate(scene.facts)]

        def at_end(self, scene):                       # when nobody can move any more
            for domid in scene.facts:
                if scene.host.domains[domid].tot_pages < 600:
                    scene.violate("short", f"domain {domid} did not get its 600 pages")

        def outcome(self, scene):                      # the class of a schedule's end
            return "short" if scene.violations else "complete"

Every atomic step of every party's hypercalls is a scheduling point. Beside what the world itself calls a
violation, every invariant of the core is checked after every step (launch/check/books.py), and a launch that
fails after its admission, or is refused although its memory was there, is one (launches.py); so is a party
in dom0 that still waits when nobody can move (execution.py). A world must
know of no switch that plants a bug: the same rules judge it switched on and off.

Parties share nothing but the host: what one keeps in a Python object no other party may read, for the
explorer does not see such reads. `scene.note` is for the classes of `outcome` and for violations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from hypervisor.core.host import HostConfig
from hypervisor.core.releases import Release
from hypervisor.public.units import DOMID_DOM0, DomId, Seconds
from hypervisor.public.world import World
from launch.explore.scene import Scene
from toolstack.interface import Scheme

FOR_EVER: Final[Seconds] = 3600.0
"""Whoever in dom0 still looks at his clock then waits for something that never comes."""

Act = Callable[[World, Scene], Awaitable[None]]
"""One thing a party does, a few hypercalls long. Shrinking leaves out whole acts."""


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who moves: a toolstack's process, a guest's kernel, a program in dom0."""

    name: str
    acts: tuple[Act, ...]
    """Done one after the other."""
    before: tuple[Act, ...] = ()
    """Done before the exploration begins, alone and without choices: what this party remembers from then."""
    domid: DomId = DOMID_DOM0
    """Whose hypercalls they are; a guest's domain must exist and run after the set-up, unless it is told
    by its incarnation."""
    incarnation: int | None = None
    """Of its domain, which may come to be only while the parties move: until then its hypercalls wait."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is chosen from outside: a museum's switch is a changed `release` or `scheme`."""

    release: Release
    scheme: Callable[[], Scheme]
    """A new instance for every toolstack and every schedule."""


class SmallWorld:
    """Derive from it; see the head of this file."""

    name: ClassVar[str]
    about: ClassVar[str]
    """One line."""
    host: HostConfig
    scheme: ClassVar[str | None] = None
    """The scheme its toolstacks use unless another is asked for; None when it has no toolstack with one."""
    until: ClassVar[Seconds] = FOR_EVER
    """Emulated seconds on a party's own clock after which its timers do not ring any more. Less than
    `FOR_EVER` where somebody in dom0 goes on by his clock and is not meant to end."""
    closed: ClassVar[bool] = True
    """Whoever waits in dom0 when nobody can move waits for ever; otherwise for somebody who is not here."""
    most_steps: int = 20_000
    """Moves after which a schedule is cut off."""
    parameters: ClassVar[Mapping[str, int]] = {}
    """Keys that --set may change, with what they are otherwise. Values are attributes of the instance."""

    def __init__(self, **changes: int) -> None:
        """`changes` are values for `parameters`. Raises KeyError for a key that is none."""
        for key in changes:
            if key not in self.parameters:
                raise KeyError(key)
        self.values = {**self.parameters, **changes}

    async def set_up(self, world: World) -> Any:
        """Requests of dom0 made once, before anybody else is there. The result must be picklable."""

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Who moves."""
        raise NotImplementedError

    def after_step(self, scene: Scene) -> None:
        """Called after every step. `scene.violate` what became untrue; reads of the host only."""

    def at_end(self, scene: Scene) -> None:
        """Called when nobody can move any more."""

    def outcome(self, scene: Scene) -> str:
        """The class of the end, told after `at_end`."""
        kinds = sorted({one.kind for one in scene.violations})
        return ", ".join(kinds) or "clean"
