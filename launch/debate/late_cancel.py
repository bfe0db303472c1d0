"""H18: a claim that outlives the build, so that the domain it belongs to is running when it frees pages.

xl cancels the claim before it unpauses the domain, and then nothing a guest gives back can grow it. A
toolstack that keeps it for a while, for the boot or out of neglect, has asked for `extra` pages more than are
populated.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from hypervisor.public.errors import errno_name
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import Pages
from toolstack.interface import CountingWorld, Launch, LaunchRefusedError, Scheme, parse_parameters


class LateCancelParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme."launch.debate.late_cancel:LateCancel"]."""

    extra: Annotated[int, Meta(ge=0)] = 16
    """Pages claimed beyond those that the build populates. Range: 0 to 4096."""
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    """Emulated seconds from the end of the build to the cancel. Range: 0 to 600."""


class LateCancel(Scheme):
    """Claim, build, and cancel when it suits."""

    origin = "P1, cancelled late"
    parameters = LateCancelParameters

    def __init__(self, parameters: Any) -> None:
        """See `LateCancelParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._parameters = parse_parameters(parameters, LateCancelParameters)

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """One call, as in `claim`, for a little more."""
        reply = await launch.world.hypercall(ClaimPages(launch.domid, pages + self._parameters.extra))
        if reply.ret < 0:
            raise LaunchRefusedError(f"{errno_name(reply.ret)} from claim_pages", reply.last)

    async def release(self, launch: Launch) -> None:
        """At once for a build that failed, later for one that did not."""
        if not launch.admitted:
            return
        if launch.built and self._parameters.seconds:
            launch.world.spawn(self._cancel_later(launch.world, launch.domid), "cancel")
        else:
            await launch.world.hypercall(ClaimPages(launch.domid, 0))

    async def _cancel_later(self, world: CountingWorld, domid: int) -> None:
        await world.sleep(self._parameters.seconds)
        await world.hypercall(ClaimPages(domid, 0))
