"""Named points at which a party can be stopped, and what stops it there.

A party's code announces a point with `await point(world, "sampled")`. Unless a scenario names that point this
does nothing and takes no time. Whoever runs the party hangs `Stops` on its world (`World.stops`); a hold, or
a fault of the party's own at that point, then waits inside the announcement: the party has done everything
before the point and nothing after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from msgspec import Struct

from hypervisor.public.units import Seconds

POINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "before-populate": "guest: its balloon driver is about to ask for pages",
        "populated": "guest: it knows what it got of them",
        "before-decrease": "guest: its balloon driver is about to give pages back",
        "created": "toolstack: the domain exists and has its limits",
        "chunk-populated": "toolstack, builder: one populate call of a build has returned",
        "populated-all": "toolstack: the build has everything, and the scheme's release is next",
        "before-claim": "claim: the claim is about to be made",
        "claimed": "claim: it has been granted",
        "sampled": "clamp: the host has been looked at, and no limit set yet",
        "clamped": "clamp (one by one): every limit is set, and none looked at yet",
        "checked": "clamp: every domain was found below its limit",
    }
)
"""The points of the guests, builders and schemes that come with claimlab. A plug-in may announce others."""

OVER: Final = 0
"""The cell that says that the run is over, which ends every hold."""
NEVER: Final = -1
"""In place of a cell: nothing but the end of the run ends it."""


class Stops(Protocol):
    """What may stop a party at its points."""

    def reached(self, name: str) -> Awaitable[None]:
        """The party is at that point; returns when it may go on."""
        ...


async def point(world: object, name: str) -> None:
    """Announce a point. Not every `World` can stop its party; one that cannot goes on."""
    stops: Stops | None = getattr(world, "stops", None)
    if stops is not None:
        await stops.reached(name)


class Cells(Protocol):
    """Numbers that everybody in a run sees; each is written by one party. 0: not yet."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class Wait(Struct, frozen=True):
    """Stop the first arrival at `point` at or after emulated second `after`."""

    point: str
    after: Seconds
    begun: int
    """Cell that gets the moment of arrival."""
    ended: int
    """Cell that gets the moment at which the party went on."""
    until: int
    """It goes on when this cell is set, or the run is over. NEVER: the latter alone."""


class PartyRules(Struct, frozen=True):
    """What a run wants of one party at its points."""

    signals: dict[str, int] = {}
    """Cells that get the moment of the first arrival at a point."""
    waits: tuple[Wait, ...] = ()


class PartyStops:
    """`Stops` for one party over cells that its launcher shares."""

    def __init__(
        self,
        rules: PartyRules,
        cells: Cells,
        now: Callable[[], Seconds],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        """`pause` returns when it may be worth looking at the cells again."""
        self._rules = rules
        self._cells = cells
        self._now = now
        self._pause = pause

    async def reached(self, name: str) -> None:
        """Say so, and wait where a rule says so."""
        cell = self._rules.signals.get(name)
        if cell is not None and not self._cells[cell]:
            self._cells[cell] = stamp(self._now())
        for wait in self._rules.waits:
            if wait.point == name and self._now() >= wait.after and not self._cells[wait.begun]:
                await self._stop(wait)

    async def _stop(self, wait: Wait) -> None:
        cells = self._cells
        cells[wait.begun] = stamp(self._now())
        while not (cells[OVER] or (wait.until != NEVER and cells[wait.until])):
            await self._pause()
        cells[wait.ended] = stamp(self._now())


def stamp(now: Seconds) -> int:
    """A moment as a cell holds it: microseconds, and never 0."""
    return max(1, round(now * 1e6))


def moment(cell: int) -> Seconds:
    """Emulated seconds of a cell that is set."""
    return cell / 1e6
