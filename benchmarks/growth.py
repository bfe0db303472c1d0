"""`python -m benchmarks.growth --out docs/figures`: what a cost grows with, as figures and as JSON.

Guests (a hypercall by the number of domains), hosts (all hypercalls together by the number of hosts), history
(time and memory of a check by the length of the run).
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.check_length import Checked, check_elsewhere
from benchmarks.clients import clients
from benchmarks.core import cpu_rate, machine_with, run_core, work
from benchmarks.domains import ACTIVE
from benchmarks.figures import Plan
from benchmarks.hosts import served
from benchmarks.mix import recorded
from benchmarks.plot import Curve, svg
from benchmarks.report import machine
from benchmarks.steady import write_steady_run

DOMAINS: Final = (10, 30, 100, 300, 1000)
HOSTS: Final = (1, 2, 4, 8)
OPERATIONS: Final = (15_000, 60_000, 120_000, 240_000)
GUESTS: Final = 4
"""Of each host, in lockstep."""
SECONDS: Final = 2.0


def by_domains(plan: Plan) -> Curve:
    """Microseconds of processor time of a hypercall in the core; ten domains call, however many there are."""
    points = [
        (float(number), _hypercall(plan, number)) for number in (DOMAINS[:2] if plan.quick else DOMAINS)
    ]
    return Curve("domains", "A hypercall by the number of domains", "domains", "us of the core", points)


def _hypercall(plan: Plan, domains: int) -> float:
    host, identities = machine_with(domains)
    todo = work(identities[:ACTIVE]) * int(plan.scaled(20, 1))
    gc.collect()
    gc.freeze()
    best = max(cpu_rate(partial(run_core, host, todo), len(todo)) for _ in range(plan.rounds))
    gc.unfreeze()
    return 1e6 / best


def by_hosts(plan: Plan) -> Curve:
    """Calls answered a second by all hosts together, each with four guests in lockstep."""
    points = [(float(number), _hosts(plan, number)) for number in (HOSTS[:2] if plan.quick else HOSTS)]
    return Curve("hosts", "All hypercalls by the number of hosts", "hosts, 4 guests each", "calls/s", points)


def _hosts(plan: Plan, number: int) -> float:
    mix, seconds = recorded().one_page_each(), plan.scaled(SECONDS, 0.2)
    with ExitStack() as stack:
        every = [stack.enter_context(served(GUESTS)) for _ in range(number)]
        calling = [
            stack.enter_context(
                clients(host.identities, [(host.guests, True)], lambda one: mix.calls(one, 1))
            )
            for host in every
        ]
        for one in calling:
            one.order(0, 1, seconds)
        return sum(count for one in calling for count, _ in one.measured()) / seconds


def by_history(plan: Plan) -> Iterator[Curve]:
    """Seconds of processor time of a check, and its memory at the most."""
    found = list(_checks([600, 1200] if plan.quick else OPERATIONS))
    seconds = [(float(one.operations), one.seconds) for one in found]
    memory = [(float(one.operations), one.mib) for one in found]
    yield Curve("check-time", "A check by the length of the run", "operations", "CPU seconds", seconds)
    yield Curve("check-memory", "A check's memory by the length of the run", "operations", "MiB", memory)


def _checks(lengths: Sequence[int]) -> Iterator[Checked]:
    for operations in lengths:
        with tempfile.TemporaryDirectory(prefix="claimlab-growth-") as name:
            write_steady_run(Path(name), operations)
            yield check_elsewhere(Path(name))


def curves(plan: Plan) -> Iterator[Curve]:
    """All of them, each when it has been measured."""
    yield by_domains(plan)
    yield by_hosts(plan)
    yield from by_history(plan)


def main() -> None:
    """Measure and write growth-<name>.svg and growth.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="where the files go")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (default 3)")
    parser.add_argument("--quick", action="store_true", help="tries the machinery, measures nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    done: list[Curve] = []
    for curve in curves(Plan(1 if options.quick else options.rounds, options.quick)):
        print(
            f"{curve.title}: {', '.join(f'{x:,g}: {y:,.3g}' for x, y in curve.points)} ({curve.y})",
            flush=True,
        )
        (options.out / f"growth-{curve.name}.svg").write_text(svg(curve), encoding="utf-8")
        done.append(curve)
    content = {"curves": [asdict(curve) for curve in done], "machine": machine()}
    (options.out / "growth.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
