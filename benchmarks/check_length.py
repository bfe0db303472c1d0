"""What checking a long run costs against a short one: neither time for an operation nor memory may grow."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from time import process_time
from types import MappingProxyType
from typing import Final

from benchmarks.figures import Figure, Pair, Plan
from benchmarks.steady import write_steady_run
from launch.check.host import check_host
from launch.check.report import Verdict

LENGTHS: Final = (60_000, 240_000, 1_000_000)
QUICK: Final = (1_000, 2_000, 4_000)
WANTED: Final = 1_000_000 / 60
"""Operations a second: a million in a minute."""


@dataclass(frozen=True)
class Checked:
    """One run, checked in a process of its own."""

    operations: int
    steps: int
    seconds: float
    """Of its own time, which other processes do not take from it."""
    mib: float
    """Of memory at the most."""


def check_here(folder: Path) -> Checked:
    """Check a folder. RuntimeError when it does not hold."""
    begun = process_time()
    report = check_host(folder, folder.name, lambda _: None)
    seconds = process_time() - begun
    if report.verdict is not Verdict.VALID:
        raise RuntimeError(f"the run does not hold: {report.findings or report.unknown}")
    return Checked(report.operations, report.steps, seconds, peak_kib() / 1024)


def peak_kib() -> int:
    """The most memory that this process had since it began with its program."""
    # not ru_maxrss, which a child inherits from whoever started it
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError("the system tells no VmHWM: measure on Linux")


def check_elsewhere(folder: Path) -> Checked:
    """The same in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.check_length", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return Checked(**json.loads(done.stdout))


@lru_cache(maxsize=1)
def lengths(plan: Plan) -> Mapping[int, Checked]:
    """Runs of every length: of several rounds, the one with the least time, the longest checked once."""
    found: dict[int, Checked] = {}
    with tempfile.TemporaryDirectory(prefix="claimlab-length-") as name:
        for operations in QUICK if plan.quick else LENGTHS:
            folder = Path(name) / str(operations)
            folder.mkdir()
            write_steady_run(folder, operations)
            rounds = 1 if operations == LENGTHS[-1] else plan.rounds
            tries = [check_elsewhere(folder) for _ in range(rounds)]
            found[operations] = min(tries, key=lambda one: one.seconds)
    return MappingProxyType(found)


def rate(number: int, plan: Plan) -> Iterator[Pair]:
    """Operations a second of the length with that number, and what is wanted."""
    one = list(lengths(plan).values())[number]
    yield one.operations / one.seconds, WANTED


def growth(of: Callable[[Checked], float], number: int, plan: Plan) -> Iterator[Pair]:
    """A cost at the length with that number, and at the shortest."""
    found = list(lengths(plan).values())
    yield of(found[number]), of(found[0])


def microseconds(one: Checked) -> float:
    """For an operation."""
    return 1e6 * one.seconds / one.operations


def mebibytes(one: Checked) -> float:
    """At the most."""
    return one.mib


def figures(quick: bool) -> tuple[Figure, ...]:
    """The rows, named after the lengths that are measured."""
    measured = QUICK if quick else LENGTHS
    return tuple(
        figure
        for number, operations in enumerate(measured)
        for figure in (_rate_figure(number, operations), *_growth_figures(number, operations, measured[0]))
    )


def _rate_figure(number: int, operations: int) -> Figure:
    return Figure(
        "check-length",
        f"check of {operations:,} operations, operations a second of CPU",
        "a million in a minute",
        "operations/s",
        1,
        partial(rate, number),
    )


def _growth_figures(number: int, operations: int, shortest: int) -> Iterator[Figure]:
    """Costs beside those of the shortest."""
    for what, unit, of in (
        ("CPU time for each", "us", microseconds),
        ("memory at the most", "MiB", mebibytes),
    ):
        if number:
            yield Figure(
                "check-length",
                f"check of {operations:,} operations, {what}",
                f"the same with {shortest:,}",
                unit,
                1.1,
                partial(growth, of, number),
                at_most=True,
            )


if __name__ == "__main__":
    print(json.dumps(asdict(check_here(Path(sys.argv[1]).resolve()))))
