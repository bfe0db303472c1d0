"""A small world with its set-up done, kept as bytes, to be copied for every schedule."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hypervisor.core.host import Host, new_host
from hypervisor.core.machine import Machine, run_alone
from hypervisor.core.releases import Release
from hypervisor.core.steps import Caller
from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import DOMID_DOM0, DomId, Seconds
from hypervisor.public.world import Task
from launch.explore.small_world import Setting, SmallWorld

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Frozen:
    """A host with nothing under way, and what is known about it, as bytes."""

    _bytes: bytes
    _arrays: tuple[tuple[bytes, int], ...]

    def thaw(self) -> tuple[Host, Any]:
        """Both as copies of one's own."""
        host, facts = _Unpickler(io.BytesIO(self._bytes), self._arrays).load()
        return host, facts


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What every schedule of a world begins with."""

    world: SmallWorld
    setting: Setting
    _start: Frozen

    def copy(self) -> tuple[Host, Any]:
        """A host of one's own, and what the set-up returned."""
        return self._start.thaw()


def blueprint(world: SmallWorld, setting: Setting) -> Blueprint:
    """Do the set-up."""
    machine = Machine(_boot(world, setting.release))
    facts = _drive(world.set_up(SetUpWorld(machine)))
    return Blueprint(world, setting, freeze(machine.host, facts))


def freeze(host: Host, facts: Any = None) -> Frozen:
    """Both as they are now. No request may be under way on the host: generators cannot be kept."""
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump((host, facts))
    arrays = tuple((bytes(one.rstrip(b"\0")), len(one)) for one in pickler.arrays.values())
    return Frozen(stream.getvalue(), arrays)


class _Pickler(pickle.Pickler):
    """Leaves long byte arrays out: a small host uses little of its heap's chunks, the rest is zeros."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=5)
        self.arrays: dict[int, bytearray] = {}

    def persistent_id(self, obj: object) -> int | None:
        """The array's place in `arrays`."""
        if type(obj) is not bytearray:
            return None
        self.arrays[id(obj)] = obj
        return list(self.arrays).index(id(obj))


class _Unpickler(pickle.Unpickler):
    """Puts them back, the same one wherever it was the same one."""

    def __init__(self, stream: io.BytesIO, arrays: Sequence[tuple[bytes, int]]) -> None:
        super().__init__(stream)
        self._arrays = arrays
        self._made: dict[int, bytearray] = {}

    def persistent_load(self, pid: int) -> bytearray:
        """A copy: its beginning, and zeros."""
        made = self._made.get(pid)
        if made is None:
            start, length = self._arrays[pid]
            made = self._made[pid] = bytearray(length)
            made[: len(start)] = start
        return made


def _boot(world: SmallWorld, release: Release) -> Host:
    return new_host(world.host, release)


def _drive(body: Coroutine[Any, Any, T]) -> T:
    try:
        body.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    raise RuntimeError("a set-up makes hypercalls and nothing else: it has nobody to wait for")


class SetUpWorld:
    """dom0 before anybody else is there: a `public.world.World` whose hypercalls are done at once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._caller = Caller(DOMID_DOM0, 0)
        self._rng = random.Random(0)

    @property
    def domid(self) -> DomId:
        """dom0."""
        return DOMID_DOM0

    @property
    def rng(self) -> random.Random:
        """See `World.rng`."""
        return self._rng

    def now(self) -> Seconds:
        """Nothing has begun."""
        return 0.0

    async def sleep(self, seconds: Seconds) -> None:
        """No time passes."""

    async def hypercall(self, request: Request) -> Reply:
        """Done at once."""
        return run_alone(self._machine, self._caller, request)

    async def multicall(self, requests: Sequence[Request]) -> tuple[Reply, ...]:
        """Done at once, in order."""
        return tuple([run_alone(self._machine, self._caller, request) for request in requests])

    async def next_event(self) -> Event:
        """Nothing ever happens. Raises RuntimeError."""
        raise RuntimeError("a set-up has no events to wait for")

    async def listen(self, virqs: Sequence[int]) -> None:
        """Nothing is heard before the parties are there."""

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """One coroutine only. Raises RuntimeError."""
        coroutine.close()
        raise RuntimeError(f"a set-up does one thing after the other: it cannot spawn {name!r}")
