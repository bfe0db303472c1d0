"""What the journal costs: recording and checking."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.clients import clients
from benchmarks.figures import Figure, Pair, Plan
from benchmarks.hosts import served
from benchmarks.mix import recorded
from benchmarks.wire import SECONDS
from launch.check.host import check_host

ON, OFF = 0, 1


def recording(plan: Plan) -> Iterator[Pair]:
    """Pipelined calls a second of two hypervisors, with a journal and without, from the same clients."""
    mix, seconds = recorded().one_page_each(), plan.scaled(SECONDS, 0.2)
    with served(4) as on, served(4, recording=False) as off:
        # Both hosts were built alike, so domids, incarnations and secrets are the same.
        endpoints = [(on.guests, True), (off.guests, True)]
        with clients(on.identities, endpoints, mix.calls) as started:
            for _ in range(plan.rounds):
                yield started.rate(ON, 64, seconds), started.rate(OFF, 64, seconds)


def check(plan: Plan) -> Iterator[Pair]:
    """Operations a second of the check of a lockstep run, and of the run."""
    mix, seconds = recorded().one_page_each(), plan.scaled(SECONDS, 0.2)
    guests = int(plan.scaled(64, 4))
    for _ in range(plan.rounds):
        with tempfile.TemporaryDirectory(prefix="claimlab-check-") as name:
            folder = Path(name)
            with (
                served(guests, folder=folder) as host,
                clients(host.identities, [(host.guests, True)], mix.calls) as started,
            ):
                rate = started.rate(0, 1, seconds)
            report = check_host(folder, "lockstep", lambda _: None)
            if report.findings or report.unknown:
                raise RuntimeError(f"the run does not hold: {report.findings or report.unknown}")
            yield float(report.operations_per_second), rate


FIGURES = (
    Figure(
        "recording",
        "pipelined hypercalls with recording on",
        "the same with recording off",
        "calls/s",
        0.9,
        recording,
    ),
    Figure(
        "check",
        "check of a lockstep run, operations",
        "the rate of that run, 64 guest processes",
        "operations/s",
        3,
        check,
    ),
)
