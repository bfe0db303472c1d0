"""`lock`: one create at a time, and freemem (P9): what xl does when autoballoon is on.

xl holds its lock file for the whole of a create (L12), looks at free memory, and lets dom0 balloon down until
there is enough or its patience of 30 s is used up (L13, the form of 4.6 and later). Free memory is free_pages
alone, neither claims nor other builders' promises (L11), and a target below dom0's minimum is refused at
once (L15); the lock is what makes that safe, among creators of
one host and one toolstack. It excludes neither other toolstacks nor the guests, which are not asked.

The lock is this process's own, as xl's file is of all xl's on one dom0: it is gone when the process is.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from hypervisor.public.units import Commit, Pages
from toolstack.dom0_balloon import DOM0_MINIMUM, Dom0Balloon
from toolstack.interface import Launch, LaunchRefusedError, Scheme, parse_parameters, read_host
from toolstack.waiting_line import WaitingLine


class LockParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.lock]."""

    autoballoon: bool = True
    """Whether dom0 gives memory; xl's "auto" is no when dom0_mem= was given. Range: true, false."""
    credit_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """Emulated seconds spent waiting for memory to become free (L13). Range: 0 to 120."""
    look_seconds: Annotated[float, Meta(gt=0)] = 2.0
    """Emulated seconds between two looks at free memory (L13). Range: 0.5 to 10."""
    lock_seconds: Annotated[float, Meta(gt=0)] = 0.1
    """Emulated seconds between two looks at the lock. Range: 0.01 to 1."""
    dom0_minimum: Annotated[int, Meta(ge=0)] = DOM0_MINIMUM
    """Pages that dom0 keeps (L15: 128 MiB). Range: 32768 pages and up."""


class Lock(Scheme):
    """From the decision to the end of the build nobody else of this toolstack decides or builds."""

    origin = "P9: xl, when autoballoon is on"
    parameters = LockParameters

    def __init__(self, parameters: Any) -> None:
        """See `LockParameters`. Raises `ParametersError`."""
        super().__init__({})
        self._parameters = parse_parameters(parameters, LockParameters)
        self._line = WaitingLine(self._parameters.lock_seconds)
        self._dom0 = Dom0Balloon()

    async def admit_before_create(self, launch: Launch) -> bool:
        """Take the lock, then free the memory."""
        await self._line.enter(launch.world, launch.order.order)
        await self._free_memory(launch)
        return True

    async def release(self, launch: Launch) -> None:
        """Let the next one in. dom0 keeps what it has, as under xl."""
        self._line.leave(launch.order.order)

    async def _free_memory(self, launch: Launch) -> None:
        """freemem(): look, shrink dom0 by what is missing, wait; until the credit is used up."""
        end = launch.world.now() + self._parameters.credit_seconds
        while True:
            missing, commit = await self._missing(launch)
            if missing <= 0:
                return
            if launch.world.now() >= end:
                raise LaunchRefusedError(f"{missing} pages too few are free", commit)
            if self._parameters.autoballoon and not await self._dom0_gives(launch, missing):
                text = f"{missing} pages too few are free, and dom0 cannot give them"
                raise LaunchRefusedError(text, commit)
            await launch.world.sleep(self._parameters.look_seconds)

    async def _dom0_gives(self, launch: Launch, missing: Pages) -> bool:
        return await self._dom0.inflate(launch.world, missing, self._parameters.dom0_minimum) > 0

    async def _missing(self, launch: Launch) -> tuple[Pages, Commit]:
        launch.look_anew()
        host, commit = await read_host(launch.world)
        return launch.need - host.free_pages, commit
