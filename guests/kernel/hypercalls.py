"""How a guest's requests leave: counted, batched as multicalls, several in flight."""

from collections.abc import Sequence
from itertools import pairwise

from guests.report import Counters
from hypervisor.public.requests import Reply, Request
from hypervisor.public.world import IndefiniteError, RefusedByWireError, World
from hypervisor.public.xenstore import StoreOp


class Hypercalls:
    """The guest's way out. Linux's driver has one request in flight: `in_flight` 1, `batch` 1."""

    def __init__(self, world: World, counters: Counters, in_flight: int = 1, batch: int = 1) -> None:
        self._world = world
        self._counters = counters
        self._in_flight = in_flight
        self._batch = batch

    @property
    def most(self) -> int:
        """Most requests that `issue` sends at once."""
        return self._in_flight * self._batch

    async def store(self, request: StoreOp) -> Reply:
        """One xenstore request."""
        self._counters.store_requests += 1
        return await self._world.hypercall(request)

    async def issue(self, requests: Sequence[Request]) -> list[Reply]:
        """At most `most` hypercalls; the replies come in the order of the requests.

        Spread evenly over the calls in flight, so that more calls in flight also means smaller batches.
        Raises `RefusedByWireError` or `IndefiniteError`, after all calls have ended.
        """
        self._counters.hypercalls += len(requests)
        calls = min(self._in_flight, len(requests))
        if calls <= 1:
            return list(await self._send(requests))
        bounds = [len(requests) * part // calls for part in range(calls + 1)]
        parts = [requests[first:end] for first, end in pairwise(bounds)]
        tasks = [self._world.spawn(self._caught(part), "hypercall") for part in parts]
        outcomes = [await task for task in tasks]
        return [reply for outcome in outcomes for reply in _replies(outcome)]

    async def in_turn(self, requests: Sequence[Request]) -> Sequence[Reply]:
        """Any number of requests in one message, one after the other, as one vcpu makes them."""
        self._counters.hypercalls += len(requests)
        return await self._send(requests)

    async def _send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        if not requests:
            return ()
        self._counters.messages += 1
        if len(requests) == 1:
            return (await self._world.hypercall(requests[0]),)
        return await self._world.multicall(requests)

    async def _caught(self, requests: Sequence[Request]) -> Sequence[Reply] | Exception:
        # A sibling that dies before it is awaited would end the party; its error is handed over instead.
        try:
            return await self._send(requests)
        except (RefusedByWireError, IndefiniteError) as error:
            return error


def _replies(outcome: Sequence[Reply] | Exception) -> Sequence[Reply]:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
