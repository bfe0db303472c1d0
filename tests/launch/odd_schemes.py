"""Schemes that nobody should write, for `--scheme tests.launch.odd_schemes:NAME`."""

from __future__ import annotations

from toolstack.interface import Launch, LaunchRefusedError, Scheme, read_host


class Waits(Scheme):
    """Never answers."""

    async def admit_before_create(self, launch: Launch) -> bool:
        while True:
            await launch.world.sleep(1.0)


class Repeats(Scheme):
    """Looks at the host for ever."""

    async def admit_before_create(self, launch: Launch) -> bool:
        while True:
            await read_host(launch.world)


class Raises(Scheme):
    """Has a bug."""

    async def admit_before_create(self, launch: Launch) -> bool:
        raise KeyError("launch")


class RefusesUnseen(Scheme):
    """Refuses without a look at the host."""

    async def admit_before_create(self, launch: Launch) -> bool:
        raise LaunchRefusedError("not today", 0)
