"""`forbid`: no dynamic allocations at all (P6, which the seed attributes to Dunlap, unsure of it).

Xen has no switch that forbids a guest to grow, so the toolstack pins max_pages at tot_pages: ballooning up,
persistent tmem puts and unsharing then fail at the limit like any allocation above it. Pins are
set as soon as the toolstack sees a domain run and last as long as the toolstack does (`when` = "always"), or
only while something is built, which is `clamp-to-tot`. Giving memory back stays allowed.

A guest that gives memory back could take it again up to its pin. With `repin` each admission lowers the pins
to what the domains have then, so that returned memory becomes available to launches and is lost to the guest.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hypervisor.public.units import Seconds
from hypervisor.public.world import CancelledError
from toolstack.interface import CountingWorld, parse_parameters
from toolstack.limits import Calls
from toolstack.pinning import Pinning


class ForbidParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.forbid]."""

    when: Literal["always", "builds"] = "always"
    """While this toolstack serves, or only while it builds. Range: always, builds."""
    repin: bool = True
    """Pins follow tot_pages down at each admission. Range: true, false."""
    look_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """Emulated seconds between two looks for domains that are not pinned yet. Range: 1 to 60."""
    calls: Calls = "one by one"
    """How limits are set and read. Range: one by one, multicall, atomic (not in Xen: H4)."""


class Forbid(Pinning):
    """Pins from the first sight of a domain to the end of the toolstack."""

    origin = "P6: attributed to Dunlap, unsure"
    parameters = ForbidParameters

    def __init__(self, parameters: Any) -> None:
        """See `ForbidParameters`. Raises `ParametersError`."""
        chosen = parse_parameters(parameters, ForbidParameters)
        super().__init__(chosen.calls, 0, repin=chosen.repin)
        self._always = chosen.when == "always"
        self._look: Seconds = chosen.look_seconds
        self._serving = False

    def _lasting(self) -> bool:
        return self._serving or super()._lasting()

    async def serve(self, world: CountingWorld) -> None:
        """Pin whoever begins to run; lift every pin at the end."""
        if not self._always:
            return
        self._serving = True
        try:
            while True:
                await self._in_turn.run(world, lambda: self._pin_new(world))
                await world.sleep(self._look)
        except (CancelledError, Exception):
            self._serving = False
            await self._in_turn.run(world, lambda: self._limits.apply(world, {}))
            raise

    async def _pin_new(self, world: CountingWorld) -> None:
        """Domains not pinned yet; the others keep their pins until an admission."""
        repin, self._repin = self._repin, False
        wanted = await self._pins(world)
        self._repin = repin
        await self._limits.apply(world, wanted)
