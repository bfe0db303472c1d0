"""Small real runs of `claimlab run` for tests, as a user starts them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_not_result, stop_after_delay, wait_fixed

from hypervisor.public.orders import Stage
from launch.records import read_outcomes
from launch.results import start_time

SMALL = """
name = "small"
speed = 20
duration = 30
schemes = ["naive", "claim", "clamp"]

[host]
memory = "1GiB"
dom0 = "64MiB"
xen = "32MiB"

[guests]
count = 4
memory = "64MiB"
max = "96MiB"
headroom = 1.05
swap = "8MiB"
workload = [{ kind = "sine", mean = "61MiB", amplitude = "4MiB", period = 20 }]

[arrivals]
kind = "burst"
count = 4
size = "256MiB"
at = 2
spread = 1

[toolstack]
parallel = 4
builder = "hvm-4.17"
pages_per_second = 6000
"""
"""672 MiB are free: of four builds of 256 MiB two fit."""
_MEET = "".join(
    f'[[holds]]\nparty = "toolstack-{number}"\nat = "created"\nuntil = "toolstack-3:created"\n'
    for number in range(3)
)
RUSH = (
    SMALL.replace('"1GiB"', '"520MiB"')
    .replace('"256MiB"', '"64MiB"')
    .replace("pages_per_second = 6000", "pages_per_second = 3000")
    .replace("parallel = 4", "count = 4\nparallel = 1")
    + _MEET
)
"""168 MiB are free, for two builds of 64 MiB, and each has a toolstack of its own. Nobody builds before all
have made their domains, so that whoever looks before that finds room for himself."""


Done = subprocess.CompletedProcess[str]
T = TypeVar("T")
PATIENCE = 400
"""Real seconds after which something hangs: generous, for nobody knows how slow a machine is."""


BAD_USAGE = 2
ENDS = (Stage.BUILT, Stage.REFUSED, Stage.FAILED)


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; tenacity's RetryError when it does not come true."""
    Retrying(retry=retry_if_not_result(bool), stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.01))(
        condition
    )


def write_scenario(folder: Path, text: str = SMALL) -> Path:
    """The scenario as a file."""
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def claimlab(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "launch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, **options)


def longer(attempt: Callable[[int], T], enough: Callable[[T], object]) -> T:
    """What comes of `attempt(1)`, or (4) or (16) if it is not enough: so many times its emulated time.

    Emulated time goes on however long the machine keeps a process waiting, so a run may end before what it is
    for. What has not come about in sixteen times the time never will, and is there to be looked at.
    """
    result = attempt(1)
    for times in (4, 16):
        if enough(result):
            break
        result = attempt(times)
    return result


def run_until(
    over: Callable[[Done], object], run: Path, *arguments: object, seconds: float
) -> subprocess.CompletedProcess[str]:
    """`claimlab run --out RUN` of so many emulated seconds, or `longer`. What cannot begin is tried once."""

    def attempt(times: int) -> Done:
        if run.exists():
            shutil.rmtree(run)
        return claimlab("run", *arguments, "--set", f"duration={seconds * times}", "--out", run)

    return longer(attempt, lambda done: done.returncode == BAD_USAGE or over(done))


def ended(run: Path, launches: int) -> Callable[[object], bool]:
    """Whether the first so many launches of every scheme of a run have been built, refused or have failed."""

    def look(_done: object = None) -> bool:
        hosts = [path.parent for path in run.rglob("journal.msgpack")]
        found = [{one.order for one in read_outcomes(host) if one.stage in ENDS} for host in hosts]
        return bool(found) and all(orders >= set(range(1, launches + 1)) for orders in found)

    return look


def run_killing(
    role: str,
    when: Callable[[], object],
    run: Path,
    *arguments: object,
    seconds: float,
    wanted: str = "by signal 9",
) -> Done:
    """A run of so many emulated seconds, or `longer`; kill -9 of one of its processes as soon as `when()`.

    It may come too late, when the process has been dismissed: `wanted` is what the summary says otherwise.
    """

    def attempt(times: int) -> Done:
        if run.exists():
            shutil.rmtree(run)
        started = begin("run", *arguments, "--set", f"duration={seconds * times}", "--out", run)
        wait_until(lambda: when() or started.poll() is not None)
        for entry in still_there(run):
            if entry["role"] == role:
                os.kill(entry["pid"], signal.SIGKILL)
        output, errors = started.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(started.args, started.returncode, output, errors)

    def in_time(_done: Done) -> bool:
        told = run / "summary.md"
        return told.exists() and wanted in told.read_text(encoding="utf-8")

    return longer(attempt, in_time)


def run_with_foreign(
    program: Sequence[object],
    run: Path,
    *arguments: object,
    seconds: float,
    over: Callable[[Done], object],
) -> Done:
    """`run_until` with scheme "foreign": `program ACCESS_FILE` enlists, and leaves with 0."""

    def attempt(times: int) -> Done:
        if run.exists():
            shutil.rmtree(run)
        length = f"duration={seconds * times}"
        started = begin("run", *arguments, "--scheme", "foreign", "--set", length, "--out", run)
        access = run / "foreign" / "1" / "host0" / "toolstack-access.json"
        wait_until(lambda: access.exists() or started.poll() is not None)
        assert access.stat().st_mode & 0o077 == 0
        with subprocess.Popen([*map(str, program), str(access)]) as foreign:
            output, errors = started.communicate(timeout=PATIENCE)
            assert foreign.wait(timeout=PATIENCE) == 0
        return subprocess.CompletedProcess(started.args, started.returncode, output, errors)

    return longer(attempt, over)


def begin(*arguments: object) -> subprocess.Popen[str]:
    """Start the command and return at once."""
    command = [sys.executable, "-m", "launch", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def recorded(run: Path) -> list[dict[str, Any]]:
    """Every process that the run recorded."""
    path = run / "pids.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pid_of(run: Path, role: str) -> int | None:
    """The pid recorded for a role."""
    return next((entry["pid"] for entry in recorded(run) if entry["role"] == role), None)


def still_there(run: Path) -> list[dict[str, Any]]:
    """Recorded processes that live on, told by pid and start time."""
    started = [
        entry for entry in recorded(run) if entry["start_time"] is not None
    ]  # None: it had ended by then
    return [entry for entry in started if start_time(entry["pid"]) == entry["start_time"]]


def summary(run: Path) -> dict[str, Any]:
    """summary.json."""
    content: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return content
