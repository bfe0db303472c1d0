"""`freeze`: tmem's documented management sequence (P7): freeze, query freeable, flush, build, thaw.

Most of a tmem host's idle memory sits in ephemeral pages that only tmem can give back. So: stop new puts
for all clients, and if too little is free, ask how much tmem could free, flush what is missing, look again,
build, thaw. tmem's own author calls it gross and ham-handed in the seed; and there is no such switch for
ballooning or for unsharing, so that a guest that balloons up in the middle of a build still takes its pages
(H11).

A freeze does not refuse gets, it starves them: every hit of a private ephemeral pool takes its page away.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hypervisor.public.units import Commit, Pages
from toolstack.in_turn import InTurn
from toolstack.interface import Launch, LaunchRefusedError, Scheme, parse_parameters, read_host
from toolstack.promises import Promises
from toolstack.tmem_controls import TMEM_RELEASES, TmemFreeze, flush, query_freeable


class FreezeParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.freeze]."""

    flush: Literal["lacking", "freeable"] = "lacking"
    """What is flushed when memory is short: what the launch lacks, or all that tmem can free.
    Range: lacking, freeable."""
    margin_percent: Annotated[int, Meta(ge=0, le=100)] = 0
    """Free memory wanted beyond the need, percent of it, against guests that balloon. Range: 0 to 20."""


class Freeze(Scheme):
    """Two control operations for a launch that fits, four hypercalls more for one that needs a flush."""

    origin = "P7: tmem's management sequence, which Magenheimer calls gross and ham-handed"
    parameters = FreezeParameters
    releases = TMEM_RELEASES

    def __init__(self, parameters: Any) -> None:
        """See `FreezeParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._parameters = parse_parameters(parameters, FreezeParameters)
        self._freeze = TmemFreeze()
        self._promises = Promises()
        self._in_turn = InTurn()

    async def admit_before_create(self, launch: Launch) -> bool:
        """Freeze, flush what is missing, and admit; two launches of this toolstack never flush at once."""
        await self._in_turn.run(launch.world, lambda: self._admit(launch))
        return True

    async def release(self, launch: Launch) -> None:
        """Thaw, once no launch is under way."""
        self._promises.remove(launch)
        await self._in_turn.run(launch.world, lambda: self._freeze.let_go(launch.world, launch.order.order))

    async def _admit(self, launch: Launch) -> None:
        await self._freeze.hold(launch.world, launch.order.order)
        lacking, commit = await self._lacking(launch)
        if lacking > 0:
            freeable = await query_freeable(launch.world)
            if freeable < lacking:
                text = f"{lacking} pages too few are free, and tmem could free {freeable}"
                raise LaunchRefusedError(text, commit)
            everything = self._parameters.flush == "freeable"
            await flush(launch.world, freeable if everything else lacking)
            lacking, commit = await self._lacking(launch)
        if lacking > 0:
            # Freeable is an overstatement at times (T19), and a guest may have been quicker.
            raise LaunchRefusedError(f"{lacking} pages too few are free after the flush", commit)
        self._promises.add(launch)

    async def _lacking(self, launch: Launch) -> tuple[Pages, Commit]:
        launch.look_anew()
        host, commit = await read_host(launch.world)
        wanted = launch.need + launch.need * self._parameters.margin_percent // 100
        return self._promises.pages + wanted - host.free_pages, commit
