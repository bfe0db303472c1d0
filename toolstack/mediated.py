"""`mediated`: the toolstack in the middle of every dynamic allocation (P5).

A guest that wants to grow asks, and waits until the toolstack has said yes or no. So the toolstack knows all
that happens and can keep what it has promised to a launch; growth is limited in total, as by a claim, not
guest by guest. The seed asks Campbell whether he proposes this ("Not at all") and attributes something along
these lines to Jackson, unsure of it. Xen has no such hook: its requests are a counterfactual. The price is
the latency of every allocation, and that a dead toolstack stops every guest that wants to grow.

A guest is allowed what it asks for when that much is free beside what is promised to launches and allowed to
others; denied, it is as if memory had run out, and its balloon driver retries by itself. Balloons (populate
and increase_reservation) are mediated; tmem puts and unshare copies are not.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from msgspec import Meta, Struct

from hypervisor.public.counterfactual import AnswerGrowth, GrowthEvent, Mediate
from hypervisor.public.errors import errno_name
from hypervisor.public.units import Commit, Pages
from hypervisor.public.world import CancelledError
from toolstack.in_turn import InTurn
from toolstack.interface import CountingWorld, Launch, LaunchRefusedError, Scheme, parse_parameters, read_host
from toolstack.promises import Promises, still_to_take


class MediatedParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.mediated]."""

    reserve_pages: Annotated[int, Meta(ge=0)] = 0
    """Free memory that guests are never allowed to take. Range: 0 to 16384 pages."""
    reread: bool = True
    """Before a no, look at free memory again: guests give pages back unasked. Range: true, false."""
    take_over: bool = False
    """Take mediation from another toolstack that has it: for one started in the place of one that was
    killed, whose guests still wait. Range: true, false."""


class Mediated(Scheme):
    """One question for every growth; launches are promised what nobody is allowed to take."""

    origin = "P5: attributed to Jackson, unsure"
    parameters = MediatedParameters

    def __init__(self, parameters: Any) -> None:
        """See `MediatedParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._parameters = parse_parameters(parameters, MediatedParameters)
        self._promises = Promises()
        self._allowed: dict[int, Pages] = {}
        """By ticket: what guests have been allowed and not finished taking."""
        self._unpromised: Pages = 0
        """Free memory as last read, less what was promised then or since, less what guests took since."""
        self._as_of: Commit = 0
        self._in_turn = InTurn()
        self._figures = {"growths allowed": 0, "growths denied": 0}

    async def admit_before_create(self, launch: Launch) -> bool:
        """Free, and neither promised nor allowed to anybody."""
        await self._in_turn.run(launch.world, lambda: self._admit(launch))
        return True

    async def release(self, launch: Launch) -> None:
        """The promise is over, and what it did not take of it anybody may have."""
        if self._promises.remove(launch):
            self._unpromised += still_to_take(launch)

    async def _admit(self, launch: Launch) -> None:
        await self._look(launch.world)
        if self._spare() < launch.need:
            text = f"{self._spare()} pages free, {launch.need} needed"
            raise LaunchRefusedError(text, self._as_of)
        self._promises.add(launch)
        self._unpromised -= launch.need

    async def serve(self, world: CountingWorld) -> None:
        """Be asked until the end; whoever waits then is let go."""
        reply = await world.hypercall(Mediate(True, self._parameters.take_over))
        if reply.ret < 0:
            text = "another toolstack is in the middle: if it is dead, set scheme.mediated.take_over=true"
            raise RuntimeError(f"{errno_name(reply.ret)} from Mediate: {text}")
        try:
            while True:
                event = await world.next_event()
                if isinstance(event, GrowthEvent):
                    await self._in_turn.run(world, partial(self._heard, world, event))
        except (CancelledError, Exception):
            await world.hypercall(Mediate(False))
            raise

    def notes(self) -> dict[str, Any]:
        """What was decided."""
        return dict(self._figures)

    async def _heard(self, world: CountingWorld, event: GrowthEvent) -> None:
        if event.finished:
            self._allowed.pop(event.ticket, None)
            if event.commit > self._as_of:
                self._unpromised -= event.pages
            return
        wanted = event.pages + self._parameters.reserve_pages
        if self._spare() < wanted and self._parameters.reread:
            await self._look(world)
        allow = self._spare() >= wanted
        if allow:
            self._allowed[event.ticket] = event.pages  # on record before it can begin
        self._figures["growths allowed" if allow else "growths denied"] += 1
        reply = await world.hypercall(AnswerGrowth(event.ticket, allow))
        if reply.ret < 0:
            self._allowed.pop(event.ticket, None)  # the guest died while it waited: it will not finish

    async def _look(self, world: CountingWorld) -> None:
        host, self._as_of = await read_host(world)
        self._unpromised = host.free_pages - self._promises.pages

    def _spare(self) -> Pages:
        """What is neither taken, nor promised, nor allowed.

        A growth under way may be half done when free memory is read; it counts in full until it is over.
        """
        return self._unpromised - sum(self._allowed.values())
