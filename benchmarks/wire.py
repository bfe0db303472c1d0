"""Rows over the wire: hypercalls of guest processes against a bare echo of the same bytes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from statistics import quantiles

from benchmarks.clients import Clients, clients
from benchmarks.echo import echoing
from benchmarks.figures import Figure, Pair, Plan
from benchmarks.hosts import served
from benchmarks.mix import Mix, recorded

HYPERVISOR, ECHO = 0, 1
SECONDS = 2.0
"""Of each half of a round."""
ECHO_ANCHOR = "bare pyzmq ROUTER echo"


@contextmanager
def both(guests: int, mix: Mix, size: int = 1) -> Generator[Clients]:
    """Guests' processes connected to a hypervisor and to an echo, and used to both."""
    with (
        served(guests) as host,
        echoing() as echo,
        clients(
            host.identities, [(host.guests, True), (echo, False)], lambda one: mix.calls(one, size)
        ) as started,
    ):
        for endpoint in (HYPERVISOR, ECHO):
            started.run(endpoint, 1, 0.2)
        yield started


def rates(plan: Plan, guests: int, window: int, mix: Mix) -> Iterator[Pair]:
    """Calls a second at the hypervisor and at the echo, in turns."""
    seconds = plan.scaled(SECONDS, 0.2)
    with both(guests, mix) as started:
        for _ in range(plan.rounds):
            yield started.rate(HYPERVISOR, window, seconds), started.rate(ECHO, window, seconds)


def lockstep(plan: Plan) -> Iterator[Pair]:
    """64 guest processes, one hypercall in flight each."""
    return rates(plan, int(plan.scaled(64, 4)), 1, recorded().one_page_each())


def lockstep_recorded(plan: Plan) -> Iterator[Pair]:
    """As `lockstep`, the requests as long as recorded."""
    return rates(plan, int(plan.scaled(64, 4)), 1, recorded())


def pipelined(plan: Plan) -> Iterator[Pair]:
    """4 guest processes, 64 hypercalls in flight each."""
    return rates(plan, 4, 64, recorded().one_page_each())


def pipelined_recorded(plan: Plan) -> Iterator[Pair]:
    """As `pipelined`, the requests as long as recorded."""
    return rates(plan, 4, 64, recorded())


def round_trips(plan: Plan, percentile: int) -> Iterator[Pair]:
    """Microseconds of a round trip of one guest alone."""
    seconds = plan.scaled(SECONDS, 0.2)
    with both(1, recorded().one_page_each()) as started:
        for _ in range(plan.rounds):
            ours, echoed = (
                quantiles(started.run(endpoint, 1, seconds)[0][1], n=100)[percentile - 1] / 1000
                for endpoint in (HYPERVISOR, ECHO)
            )
            yield ours, echoed


def round_trip_p50(plan: Plan) -> Iterator[Pair]:
    """The median round trip."""
    return round_trips(plan, 50)


def round_trip_p99(plan: Plan) -> Iterator[Pair]:
    """The round trip that one in a hundred exceeds."""
    return round_trips(plan, 99)


FIGURES = (
    Figure(
        "lockstep",
        "lockstep hypercalls, 64 guest processes, one page each",
        ECHO_ANCHOR,
        "calls/s",
        0.9,
        lockstep,
    ),
    Figure(
        "lockstep-recorded",
        "the same, as many pages a call as recorded",
        ECHO_ANCHOR,
        "calls/s",
        0.9,
        lockstep_recorded,
    ),
    Figure(
        "pipelined",
        "pipelined hypercalls, 4 guests with 64 in flight, one page each",
        ECHO_ANCHOR,
        "calls/s",
        0.6,
        pipelined,
    ),
    Figure(
        "pipelined-recorded",
        "the same, as many pages a call as recorded",
        ECHO_ANCHOR,
        "calls/s",
        0.6,
        pipelined_recorded,
    ),
    Figure("p50", "round trip of one guest, p50", ECHO_ANCHOR, "us", 1.25, round_trip_p50, at_most=True),
    Figure("p99", "round trip of one guest, p99", ECHO_ANCHOR, "us", 1.25, round_trip_p99, at_most=True),
)
