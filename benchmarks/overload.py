"""`python -m benchmarks.overload --minutes 10`: what hostile clients cost others, and in memory.

Honest clients' rate three times: alone; with hostile clients on the machine, at another hypervisor; and with
them at their own. Between the second and the third nothing differs but whom they are hostile to.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.clients import Clients, clients
from benchmarks.hostile import KINDS, hostile_process
from benchmarks.hosts import Served, piped, served
from benchmarks.mix import recorded

HONEST: Final = 4
PIECE_SECONDS: Final = 5.0
"""Of one measurement of a rate."""
LEAST_SHARE: Final = 0.5
"""Of their rate that honest clients keep at the least."""
SETTLED: Final = 0.2
"""Share of the time after which memory has come to what it stays at."""
MOST_GROWTH: Final = 64.0
"""MiB that it may still grow then: what a hypervisor keeps of honest guests grows a little, too."""


@dataclass(frozen=True)
class Sample:
    """The hypervisor's memory and the honest clients' calls answered a second, at a moment."""

    seconds: float
    mib: float
    rate: float


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    alone: float
    elsewhere: float
    samples: Sequence[Sample]

    @property
    def beside(self) -> float:
        """Calls a second with the hostile clients at the same hypervisor, over the whole time."""
        return sum(one.rate for one in self.samples) / len(self.samples)

    @property
    def growth(self) -> float:
        """MiB from when memory had settled to the end."""
        settled = self.samples[int(SETTLED * (len(self.samples) - 1))]
        return self.samples[-1].mib - settled.mib

    @property
    def holds(self) -> bool:
        """Whether nobody but the hostile was slowed down beyond a share, and memory stays."""
        return self.beside >= LEAST_SHARE * self.elsewhere and self.growth <= MOST_GROWTH

    def verdict(self) -> str:
        """One line."""
        word = "holds" if self.holds else "DOES NOT HOLD"
        rates = f"{self.alone:,.0f} alone, {self.elsewhere:,.0f} with the hostile at another hypervisor"
        return (
            f"{word}: honest clients' calls/s {rates}, {self.beside:,.0f} with them at theirs "
            f"({self.beside / self.elsewhere:.2f} of it, at least {LEAST_SHARE}); memory "
            f"{self.samples[-1].mib:,.1f} MiB, {self.growth:+.1f} MiB since it had settled (at most "
            f"{MOST_GROWTH:g})"
        )


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system tells no VmRSS: measure on Linux")


def overload(
    seconds: float,
    piece: float = PIECE_SECONDS,
    copies: int = 1,
    every: float = 30.0,
) -> Outcome:
    """Measure for so long in all; a line for every `every` seconds goes to standard output."""
    kinds = [kind for kind in KINDS for _ in range(copies)]
    with ExitStack() as stack:
        host, other = (stack.enter_context(served(HONEST + len(kinds))) for _ in range(2))
        mix = recorded().one_page_each()
        honest = stack.enter_context(
            clients(host.identities[:HONEST], [(host.guests, True)], lambda one: mix.calls(one, 1))
        )
        told = [
            (kind, (host.identities[HONEST + number], other.identities[HONEST + number]))
            for number, kind in enumerate(kinds)
        ]
        pipes = stack.enter_context(piped(hostile_process, told))
        rates = Phases(honest, pipes, piece)
        alone = rates.at("", 0)
        elsewhere = rates.at(other.guests, 1)
        return Outcome(alone, elsewhere, rates.samples(host, seconds, every))


class Phases:
    """Honest clients measured while the hostile are sent from place to place."""

    def __init__(self, honest: Clients, pipes: list[Any], piece: float) -> None:
        self._honest, self._pipes, self._piece = honest, pipes, piece

    def at(self, endpoint: str, number: int) -> float:
        """The honest clients' rate with the hostile at an endpoint, "" for nowhere."""
        for pipe in self._pipes:
            pipe.send((endpoint, number))
        self._honest.run(0, 1, min(1.0, self._piece))
        return self._honest.rate(0, 1, self._piece)

    def samples(self, host: Served, seconds: float, every: float) -> list[Sample]:
        """With the hostile at `host`, until the time is over."""
        self.at(host.guests, 0)
        begun, said, samples = time.monotonic(), 0.0, list[Sample]()
        while not samples or samples[-1].seconds < seconds:
            rate = self._honest.rate(0, 1, self._piece)
            now = time.monotonic() - begun
            samples.append(Sample(now, rss_mib(host.pid), rate))
            if now >= said:
                said += every
                print(f"{now:6.0f} s: {samples[-1].mib:7.1f} MiB, {rate:8,.0f} calls/s", flush=True)
        for pipe in self._pipes:
            pipe.send(None)
        return samples


def main() -> None:
    """Measure, say how it went, and exit with 1 where it does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="with the hostile clients (default 10)")
    parser.add_argument("--copies", type=int, default=1, help="hostile clients of each kind (default 1)")
    options = parser.parse_args()
    outcome = overload(60 * options.minutes, copies=options.copies)
    print(outcome.verdict())
    sys.exit(not outcome.holds)


if __name__ == "__main__":
    main()
