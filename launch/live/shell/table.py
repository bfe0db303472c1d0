"""The shell's commands: xl's names, and what carries each out."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from hypervisor.public.world import IndefiniteError, RefusedByWireError, World
from launch.cluster.control import Control, ControlLostError
from launch.live.shell import life, listings, memory, tmem
from launch.live.shell.answer import CommandFailedError, Shown

Command = Callable[[World, Sequence[str]], Awaitable[Shown]]

COMMANDS: Final[Mapping[str, Command]] = MappingProxyType(
    {
        "list": listings.list_domains,
        "info": listings.info,
        "claims": listings.claims,
        "sharing": listings.sharing,
        "mem-set": memory.mem_set,
        "mem-max": memory.mem_max,
        "create": life.create,
        "destroy": life.destroy,
        "pause": life.pause,
        "unpause": life.unpause,
        "tmem-list": tmem.tmem_list,
        "tmem-freeze": tmem.tmem_freeze,
        "tmem-thaw": tmem.tmem_thaw,
        "tmem-freeable": tmem.tmem_freeable,
    }
)


def carry_out(control: Control, line: str) -> Shown:
    """One line of the shell. CommandFailedError with one line that begins with the command's name."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise CommandFailedError(f"{line.split(maxsplit=1)[0]}: {error} (EINVAL)") from error
    command = COMMANDS.get(words[0])
    if command is None:
        raise CommandFailedError(f"{words[0]}: no such command: one of {', '.join(COMMANDS)}")
    try:
        return control.run(lambda world: command(world, words[1:]), lambda: False)
    except CommandFailedError as error:
        raise CommandFailedError(f"{words[0]}: {error}") from error
    except (ControlLostError, IndefiniteError) as error:
        raise CommandFailedError(f"{words[0]}: the hypervisor is gone: {error}") from error
    except RefusedByWireError as error:
        raise CommandFailedError(f"{words[0]}: refused: {error}") from error


def summaries() -> list[str]:
    """A line for each command."""
    return [f"  {(command.__doc__ or '').splitlines()[0]}" for command in COMMANDS.values()]
