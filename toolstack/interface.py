"""The plug-in interface: what a scheme decides, and what it is given to decide with.

A toolstack serves launch orders. Creating, building, rolling back and reporting are the same for
everybody (service.py); a scheme is a class with up to four coroutines that decide about memory:

    class Mine(Scheme):
        async def admit_before_create(self, launch): ...   # nothing exists yet; True admits
        async def admit_at_claim(self, launch, pages): ... # the domain exists, where libxl claims
        async def release(self, launch): ...               # always called once, however it ended
        async def serve(self, world): ...                  # beside the launches: a daemon, if it needs one

Raise `LaunchRefusedError` to refuse. `launch.world` is the toolstack's `World`; hypercalls made through it
are counted for this launch. Registered under the entry point group `claimlab.toolstacks`, or named as
`module:Class`; `[scheme.NAME]` of a scenario becomes `parameters`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from hypervisor.public.domctl import (
    DomainInfo,
    DomainInfoList,
    GetDomainInfoList,
    PhysicalInfo,
    Physinfo,
)
from hypervisor.public.orders import LaunchOrder
from hypervisor.public.points import Stops
from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import DOMID_DOM0, Commit, DomId, Pages, Seconds
from hypervisor.public.world import CancelledError, Task, World
from hypervisor.public.xenstore import StoreOp
from toolstack.need import need_memory

T = TypeVar("T")
P = TypeVar("P")


class LaunchRefusedError(Exception):
    """The scheme says no. `commit` is the commit number the answer rests on."""

    def __init__(self, reason: str, commit: Commit = 0) -> None:
        super().__init__(reason)
        self.commit = commit


class ParametersError(ValueError):
    """Parameters that the scheme does not understand; one line that names the cure."""


class CountingWorld:
    """A `World` that counts the hypercalls made through it. xenstore requests are none.

    A coroutine that is cancelled in the middle of a hypercall meets the cancellation after the reply: what
    it asked for is done or not done by then, and can be undone.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.hypercalls = 0
        self.first_commit: Commit = 0
        """Of the first reply since it was last set to 0."""
        self.last_commit: Commit = 0

    @property
    def domid(self) -> DomId:
        """The control domain."""
        return self._world.domid

    @property
    def rng(self) -> random.Random:
        """The toolstack's random stream."""
        return self._world.rng

    @property
    def stops(self) -> Stops | None:
        """See `hypervisor.public.points`."""
        stops: Stops | None = getattr(self._world, "stops", None)
        return stops

    def now(self) -> Seconds:
        """Emulated seconds."""
        return self._world.now()

    def sleep(self, seconds: Seconds) -> Awaitable[None]:
        """See `World.sleep`."""
        return self._world.sleep(seconds)

    async def hypercall(self, request: Request) -> Reply:
        """One request, counted."""
        self._count((request,))
        reply = await _to_the_end(self._world.hypercall(request))
        self._note(reply, reply)
        return reply

    async def multicall(self, requests: Sequence[Request]) -> tuple[Reply, ...]:
        """Several requests in one message; each counts."""
        self._count(requests)
        replies = await _to_the_end(self._world.multicall(requests))
        self._note(replies[0], replies[-1])
        return replies

    def _note(self, first: Reply, last: Reply) -> None:
        self.first_commit = self.first_commit or first.first
        self.last_commit = last.last

    def _count(self, requests: Sequence[Request]) -> None:
        self.hypercalls += sum(not isinstance(request, StoreOp) for request in requests)

    def next_event(self) -> Awaitable[Event]:
        """See `World.next_event`."""
        return self._world.next_event()

    def listen(self, virqs: Sequence[int]) -> Awaitable[None]:
        """See `World.listen`."""
        return self._world.listen(virqs)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """See `World.spawn`."""
        return self._world.spawn(coroutine, name)


class Launch:
    """One launch order on its way."""

    def __init__(self, order: LaunchOrder, world: World) -> None:
        self.order = order
        self.world = CountingWorld(world)
        self.domid: DomId = -1
        """The domain, once created."""
        self.incarnation = -1
        self.populated: Pages = 0
        """Pages in place so far."""
        self.admitted = False
        """True once the launcher has been told that it is admitted."""
        self.built = False
        """True once everything is populated."""
        self.admission_hypercalls = 0
        """Made by the scheme's own coroutines, release included."""
        self.sampled: Commit = 0
        """First commit of the oldest reading that the decision uses: that of the scheme's first hypercall for
        this launch, or the first since `look_anew`, unless a scheme that decides by readings of its own made
        earlier says which it was."""

    def look_anew(self) -> None:
        """From here on readings are made on which the decision will rest, and on none made before.

        For schemes that look again until they have an answer: the window of the decision begins here.
        """
        self.sampled = self.world.first_commit = 0

    @property
    def pages(self) -> Pages:
        """RAM wanted."""
        return self.order.pages

    @property
    def need(self) -> Pages:
        """Free pages that libxl wants to see for it: RAM, paging pool and overhead (L10)."""
        return need_memory(self.order.builder, self.order.pages, self.order.vcpus)


class Scheme:
    """A policy about memory. One instance serves all launches of a toolstack process."""

    origin: str = ""
    """Its number in the debate and who proposed it, as far as is known; "" for a scheme of one's own."""
    releases: Sequence[str] | None = None
    """Releases it can run on; None: all."""
    parameters: type[msgspec.Struct] | None = None
    """The struct of its parameters, each with a docstring that ends in `Range: ...`; None: it takes none."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """`parameters` come from the scenario. Raises `ParametersError`."""
        if parameters:
            raise ParametersError(f"takes no parameters: remove {', '.join(parameters)}")

    async def admit_before_create(self, launch: Launch) -> bool:
        """Decide before anything exists: True admits, False decides later; raises to refuse."""
        return False

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """Decide where libxl claims: the domain exists, its max_pages is set, its build begins (L4-L7).

        `pages` is the total that the builder claims. Not called when admitted before; raises to refuse.
        """

    async def release(self, launch: Launch) -> None:
        """Undo whatever admission changed. Called exactly once per launch, also after a refusal."""

    async def serve(self, world: CountingWorld) -> None:
        """Run beside the launches: called once, when the toolstack starts.

        Cancelled at the toolstack's dismissal, after the last launch has ended: catch `CancelledError`, put
        back what it changed, raise it again (not in a `finally`, which runs when the process is killed, too).
        Its hypercalls belong to no launch and are told at the end.
        """

    def notes(self) -> dict[str, Any]:
        """The scheme's own figures, told once at the end and shown with the run."""
        return {}


async def _to_the_end(pending: Awaitable[T]) -> T:
    """Await a call that is under way already, and its reply also when cancelled meanwhile."""
    try:
        return await pending
    except CancelledError:
        await pending
        raise


def parse_parameters(parameters: Mapping[str, Any], kind: type[P]) -> P:
    """A scheme's parameters as its own msgspec struct. Raises `ParametersError`."""
    try:
        return msgspec.convert(dict(parameters), kind)
    except msgspec.ValidationError as error:
        raise ParametersError(str(error)) from None


async def read_host(world: World | CountingWorld) -> tuple[PhysicalInfo, Commit]:
    """physinfo, and the commit that read it."""
    reply = await world.hypercall(Physinfo())
    if not isinstance(reply.value, PhysicalInfo):
        raise LaunchRefusedError(f"physinfo answered {reply.ret}", reply.last)
    return reply.value, reply.last


async def read_domains(world: World | CountingWorld) -> tuple[tuple[DomainInfo, ...], Commit]:
    """All domains but dom0, one by one and not at one moment (C36), and the last commit."""
    reply = await world.hypercall(GetDomainInfoList(DOMID_DOM0 + 1, 1 << 15))
    if not isinstance(reply.value, DomainInfoList):
        raise LaunchRefusedError(f"getdomaininfolist answered {reply.ret}", reply.last)
    return reply.value.domains, reply.last
