"""What a command of the shell gives back, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypervisor.public.errors import errno_name
from hypervisor.public.requests import Reply, Request
from hypervisor.public.world import World


class CommandFailedError(Exception):
    """One line: what failed, with the errno's name where the hypervisor said no."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Lines for people, and the same as a document for programs."""

    lines: tuple[str, ...] = ()
    document: dict[str, Any] = field(default_factory=dict[str, Any])


DONE = Shown()


async def must(world: World, request: Request, about: str) -> Reply:
    """One request that has to succeed; CommandFailedError, naming the errno, when it does not."""
    reply = await world.hypercall(request)
    if reply.ret < 0:
        raise CommandFailedError(f"{about}: {errno_name(reply.ret)}")
    return reply
